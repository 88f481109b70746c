#!/usr/bin/env python
"""Train experts and a dense model of as many active parameters on the same batches, and compare their losses.

    python pretrain/check_experts.py --out /tmp/experts --steps 300

Both follow pretrain/recipes/time-moe.yaml: the same synthetic windows, seed and steps, one thread. The dense model's
hidden width is that of the experts that work on a token, with the shared one.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from tsar.training.config import load_recipe
from tsar.training.loop import pretrain

RECIPE = Path(__file__).parent / "recipes" / "time-moe.yaml"
VARIANTS = {
    "dense": ["model.feed_forward=swiglu", "model.d_ff=384"],
    "experts, bias": ["model.expert_balance=bias"],
    "experts, loss": ["model.expert_balance=loss"],
    "experts, none": ["model.expert_balance=none"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a fresh folder for the runs")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    options = parser.parse_args()
    print("| model | active | parameters | validation loss | load entropy, lowest layer share | CPU s |", flush=True)
    print("|---|---|---|---|---|---|", flush=True)
    for name in options.only:
        settings = [f"train.steps={options.steps}", f"seed={options.seed}", "train.log_every=50"]
        began = time.process_time()
        run = options.out / name.replace(", ", "-")
        release = pretrain(load_recipe(RECIPE, VARIANTS[name] + settings), run)
        seconds = time.process_time() - began
        facts = json.loads((release / "train.json").read_text())
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        last = [line for line in lines if line["kind"] == "train"][-1]
        load = "-"
        if "load_entropy" in last:
            load = f"{last['load_entropy']:.3f}, {min(map(min, last['expert_load'])):.3f}"
        print(
            f"| {name} | {facts['active_parameters']:,} | {facts['parameters']:,} | "
            f"{facts['validation']['mean']:.4f} | {load} | {seconds:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
