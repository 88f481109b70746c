#!/usr/bin/env python
"""Put a trained release into the zoo: weights in half precision, recipe, corpus manifest, scores and card.

    python pretrain/publish.py runs/tsar-tiny/release zoo/tsar-tiny --card card.md --scores scores.json

`--scores` is the JSON of an evaluation of these very weights; run it on the published folder, then publish again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from safetensors.torch import load

from tsar.model.config import ModelConfig
from tsar.model.files import model_files
from tsar.storage import read_folder, write_folder

CORPUS = Path(__file__).parent / "corpus" / "manifest.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("release", type=Path, help="folder that a run wrote, or a published one")
    parser.add_argument("into", type=Path, help="for example zoo/tsar-tiny")
    parser.add_argument("--card", type=Path, help="Markdown; default: the card that is there")
    parser.add_argument("--scores", type=Path, help="JSON; default: the scores that are there")
    args = parser.parse_args()
    files = read_folder(args.release)
    weights = load(files["model.safetensors"])
    config = ModelConfig.from_dict(json.loads(files["config.json"]))
    files |= model_files(config, {name: value.half() for name, value in weights.items()})
    files["corpus.json"] = CORPUS.read_bytes()
    for name, given in (("card.md", args.card), ("eval.json", args.scores)):
        old = args.into / name
        if given or old.is_file():
            files[name] = (given or old).read_bytes()
    write_folder(args.into, files, name=args.into.name)
    print(f"{args.into}: {sum(map(len, files.values())) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
