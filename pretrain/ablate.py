#!/usr/bin/env python
"""Train variants of a recipe one after another, score each on development sets, and keep a line of results for each.

    python pretrain/ablate.py pretrain/recipes/mini.yaml pretrain/experiments/mini.txt --out runs/mini \
        --data ../shared/data/dev_eval

Each line of the experiments file is a name and the overrides of one variant (``patch-32 model.patch_length=32``); ``#``
begins a comment. Variants that already have a result are skipped, an interrupted one goes on from its checkpoint. A
name whose overrides have changed since its result, or that stands for two variants, is refused: its folder holds
another run.
Prints a Markdown table of all results at the end.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from score import commit, score_set, total_of

from tsar.hub import load_model
from tsar.logging import log_to_terminal
from tsar.model.config import num_parameters
from tsar.training.config import load_recipe
from tsar.training.loop import pretrain


def run_variant(recipe: Path, name: str, overrides: list[str], out: Path, data: Path, limit: int) -> dict[str, Any]:
    """Train, score, and return what is worth keeping."""
    began = time.time()
    loaded = load_recipe(recipe, overrides)
    release = pretrain(loaded, out / name)
    model = load_model(release)
    sets = [
        score_set(model, path, [model.config.context_length], limit=limit) for path in sorted(data.glob("*.parquet"))
    ]
    lines = [json.loads(line) for line in (out / name / "metrics.jsonl").read_text().splitlines()]
    validation = next(line["per_source"] for line in reversed(lines) if line["kind"] == "validation")
    synthetic = [loss for source, loss in validation.items() if source.startswith("synth:")]
    real = [loss for source, loss in validation.items() if not source.startswith("synth:") and source != "mean"]
    facts = json.loads((release / "train.json").read_text())
    return {
        "name": name, "overrides": overrides, "commit": commit(), "date": time.strftime("%Y-%m-%d"),
        "seed": loaded.seed, "parameters": num_parameters(loaded.model), "steps": facts["step"],
        "windows": facts["windows"], "tokens": facts["tokens"], "minutes": facts["seconds"] / 60,
        "wall_minutes": (time.time() - began) / 60,
        "validation_real": float(np.mean(real)) if real else None, "validation_synthetic": float(np.mean(synthetic)),
        **total_of(sets), "sets": sets,
    }  # fmt: skip


def waiting_variants(text: str, results: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    """Names and overrides of the lines that have no result yet; ends the program if a name stands for two variants."""
    known = {row["name"]: row["overrides"] for row in results}
    waiting: dict[str, list[str]] = {}
    for line in text.splitlines():
        name, *overrides = shlex.split(line, comments=True) or [""]
        before = known.get(name, waiting.get(name, overrides))
        if sorted(before) != sorted(overrides):
            sys.exit(f"{name!r} stands for two variants: {before} and {overrides}. Give one another name.")
        if name and name not in known:
            waiting[name] = overrides
    return list(waiting.items())


def table(results: list[dict[str, Any]]) -> str:
    lines = [
        "| variant | seed | weights | windows | minutes | validation real / synthetic | MASE / WQL | coverage error |",
        "|---|--:|--:|--:|--:|---|---|--:|",
    ]
    for row in results:
        overrides = f" (`{' '.join(row['overrides'])}`)" if row["overrides"] else ""
        real = "–" if row["validation_real"] is None else f"{row['validation_real']:.4f}"
        lines.append(
            f"| {row['name']}{overrides} | {row['seed']} | {row['parameters'] / 1e6:.2f} M "
            f"| {row['windows'] / 1000:.0f} k | {row['minutes']:.1f} | {real} / {row['validation_synthetic']:.4f} "
            f"| {row['rel_MASE']:.4f} / {row['rel_WQL']:.4f} | {row['coverage_error']:.3f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("experiments", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=300, help="series a set, drawn with a fixed seed; 0 = all")
    args = parser.parse_args()
    log_to_terminal()
    args.out.mkdir(parents=True, exist_ok=True)
    kept = args.out / "results.jsonl"
    results = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    while True:  # the file is read anew after each run, so that lines can be added meanwhile
        waiting = waiting_variants(args.experiments.read_text(), results)
        if not waiting:
            break
        name, overrides = waiting[0]
        results.append(run_variant(args.recipe, name, overrides, args.out, args.data, args.limit))
        with kept.open("a") as file:
            file.write(json.dumps(results[-1]) + "\n")
        print(table(results[-1:]).splitlines()[-1], flush=True)
    print(table(results))


if __name__ == "__main__":
    main()
