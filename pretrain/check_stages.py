#!/usr/bin/env python
"""A staged trunk against the plain one of as many weights: validation loss and scores of development sets.

    python pretrain/check_stages.py --out runs/stages --data ../shared/data/dev_eval --minutes 2

Both take the sizes of `pretrain/recipes/gpht.yaml`; the plain one has wider feed-forward layers for the weights that
the stages add. Same wall time on one thread each, one after the other. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from ablate import run_variant

from tsar.model.config import num_parameters
from tsar.training.config import load_recipe

RECIPE = Path(__file__).parent / "recipes" / "gpht.yaml"


def overrides_of(variant: str, minutes: float) -> list[str]:
    """The recipe's own trunk, or one without stages whose feed-forward layers make up for their weights."""
    shared = [f"train.minutes={minutes}", "train.threads=1"]
    if variant == "stages":
        return shared
    staged = load_recipe(RECIPE, []).model
    plain = load_recipe(RECIPE, ["model.stages=[]"]).model
    wider = (num_parameters(staged) - num_parameters(plain)) / (3 * staged.d_model * staged.num_layers)
    return [*shared, "model.stages=[]", f"model.d_ff={staged.d_ff + round(wider)}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of development sets")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--limit", type=int, default=50, help="series a set")
    options = parser.parse_args()
    print(f"{time.strftime('%Y-%m-%d')}, {options.minutes:g} minutes each, one thread\n")
    print("| trunk | weights | steps | validation loss | relative MASE | relative WQL |\n|---|---|---|---|---|---|")
    for variant in ("plain", "stages"):
        overrides = overrides_of(variant, options.minutes)
        row = run_variant(RECIPE, variant, overrides, options.out, options.data, options.limit)
        print(
            f"| {variant} | {row['parameters']:,} | {row['steps']:,} | {row['validation_synthetic']:.4f} "
            f"| {row['rel_MASE']:.3f} | {row['rel_WQL']:.4f} |"
        )


if __name__ == "__main__":
    main()
