#!/usr/bin/env bash
# Train the zoo's models on one GPU: the corpus packed into one file, then a check of the machine, then each model.
#
#   python pretrain/prepare_corpus.py --data ../shared/data/corpus --pack .pack/corpus.pack --max-mb 45   # once, anywhere
#   pretrain/runs/gpu.sh check            # two minutes: ceilings, pace of sampler and step
#   pretrain/runs/gpu.sh tsar-tiny-gpu    # two minutes of training after about one of compiling
#   pretrain/runs/gpu.sh tsar-small       # eight minutes
#
# A run that is cut short goes on from its last checkpoint when the same command is given again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

what="${1:?check, or the name of a recipe}"
if [[ "$what" == check ]]; then
    exec python pretrain/runs/check_device.py pretrain/recipes/tsar-tiny-gpu.yaml
fi
exec python -m tsar.cli pretrain "pretrain/recipes/$what.yaml" --run-dir "runs/$what" "${@:2}"
