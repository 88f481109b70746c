"""Train recipes at one budget on one data set, score them, and print the table of docs/zoo-of-designs.md.

    python pretrain/make_body.py gpt2 language-model
    python pretrain/compare_designs.py mini cloudops --minutes 8 --data ../shared/data/dev_eval --out runs/designs

The budget is processor time of one thread, not wall time, so that runs may share a machine: the time of a step is
measured first and gives the number of steps. Finished recipes are kept in `--out` and not run again. Every recipe
trains on the same mixture of series whatever its file says: the corpus if `--corpus` is given, half and half with
synthetic ones.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from score import commit, score_set, total_of
from torch.utils.flop_counter import FlopCounterMode

from tsar.decode import decode
from tsar.hub import load_release
from tsar.model.config import num_parameters
from tsar.model.decoder import Decoder
from tsar.training.config import Recipe, load_recipe
from tsar.training.loop import pretrain

RECIPES = Path(__file__).parent / "recipes"
CALIBRATION = (5, 65)  # steps: the first ones make the blocks of data
CONTEXT, HORIZON, ROWS = 512, 64, 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", help="names in pretrain/recipes")
    parser.add_argument("--minutes", type=float, default=8.0, help="processor time of each run")
    parser.add_argument("--data", type=Path, help="folder of evaluation sets")
    parser.add_argument("--corpus", default=None, help="folder or pack; none: synthetic series alone")
    parser.add_argument("--limit", type=int, default=40, help="series a set")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.recipes:
        kept = options.out / f"{name}.json"
        if not kept.is_file():
            kept.write_text(json.dumps(run(name, options), indent=1))
        print(f"{name}: {kept.read_text()}", flush=True)
    print_table([json.loads(path.read_text()) for path in sorted(options.out.glob("*.json"))])


def run(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train one recipe and measure its release."""
    fixed = ["train.threads=1", "train.compile=false", "train.precision=fp32", "train.validate_every=1000000"]
    fixed += ["train.save_every=1000000", "train.validation_windows=4", "train.log_every=50", "train.minutes=null"]
    fixed += [f"corpus={options.corpus or 'null'}"]
    recipe = load_recipe(RECIPES / f"{name}.yaml", fixed)
    steps = max(int(60 * options.minutes / seconds_per_step(recipe)), 20)
    recipe = load_recipe(RECIPES / f"{name}.yaml", [*fixed, f"train.steps={steps}"])
    began = time.process_time()
    release = pretrain(recipe, options.out / "runs" / name)
    minutes = (time.process_time() - began) / 60
    facts = json.loads((release / "train.json").read_text())
    decoder = load_release(release)
    row = {
        "recipe": name, "steps": steps, "windows": facts["windows"], "cpu_minutes": round(minutes, 1),
        "parameters": num_parameters(recipe.model), "validation": facts["validation"]["mean"], "commit": commit(),
    }  # fmt: skip
    if recipe.model.can_forecast:
        row |= speed(decoder)
        if options.data:
            row |= scores(decoder, options.data, options.limit)
    return row


def seconds_per_step(recipe: Recipe) -> float:
    """Processor seconds of a training step."""
    taken = []
    for until in CALIBRATION:
        with tempfile.TemporaryDirectory() as folder:
            began = time.process_time()
            pretrain(recipe, Path(folder) / "run", until=until, minutes=60.0)
            taken.append(time.process_time() - began)
    return max((taken[1] - taken[0]) / (CALIBRATION[1] - CALIBRATION[0]), 1e-4)


def speed(decoder: Decoder) -> dict[str, float]:
    """Operations of one forecast of 512 -> 64 points, as torch counts them, and its milliseconds in a batch of 8."""
    windows = np.random.default_rng(0).normal(size=(ROWS, CONTEXT)).cumsum(1)
    with FlopCounterMode(display=False) as counter:
        decode(decoder, windows[:1], HORIZON)
    times = []
    for _ in range(4):
        began = time.process_time()
        decode(decoder, windows, HORIZON)
        times.append(time.process_time() - began)
    return {"mflop": counter.get_total_flops() / 1e6, "ms": 1000 * float(np.median(times[1:])) / ROWS}


def scores(decoder: Decoder, data: Path, limit: int) -> dict[str, float]:
    """Relative scores over the evaluation sets, one plain pass over at most 512 points."""
    return total_of([score_set(decoder, path, [CONTEXT], limit=limit) for path in sorted(data.glob("*.parquet"))])


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print the rows as Markdown, best MASE first."""
    print("| recipe | weights | CPU min | windows | validation | rel_MASE | rel_WQL | MFLOP | ms |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for row in sorted(rows, key=lambda row: row.get("rel_MASE", np.inf)):
        cells = [f"{row['parameters'] / 1e6:.2f} M", f"{row['cpu_minutes']:.1f}", f"{row['windows'] / 1000:.0f} k"]
        cells.append(f"{row['validation']:.3f}")
        cells += [f"{row[key]:.3f}" if key in row else "-" for key in ("rel_MASE", "rel_WQL")]
        cells += [f"{row['mflop']:.0f}" if "mflop" in row else "-", f"{row['ms']:.1f}" if "ms" in row else "-"]
        print(f"| {row['recipe']} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
