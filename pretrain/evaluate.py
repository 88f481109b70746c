#!/usr/bin/env python
"""Score a release of the zoo as users run it, and put the scores into its folder: eval.json and the card's table.

    python pretrain/evaluate.py zoo/tsar-tiny --data ../shared/data/dev_eval

Forecasts are those of `Forecaster` with its defaults, scored by `tsar.benchmark`. Coverage is that of the quantiles
before clipping at zero, on the last window of each series and, for sets of few series, on earlier windows too.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from score import commit, score_set, total_of

from tsar.benchmark import read_sets, run_benchmark
from tsar.hub import load_model
from tsar.logging import log_to_terminal
from tsar.storage import read_folder, write_folder

BEGIN, END = "<!-- scores: written by pretrain/evaluate.py -->", "<!-- end of scores -->"
WINDOWS = 200


def evaluate(release: Path, data: Path) -> dict[str, Any]:
    """Scores of every set and their mean."""
    model = load_model(str(release.resolve()))
    contexts = [model.config.context_length]
    scores = run_benchmark(read_sets(data), {release.name: str(release.resolve())}).scores
    scores = scores[scores["model"] == release.name].set_index("set")
    sets = []
    for path in sorted(data.glob("*.parquet")):
        row = scores.loc[path.stem]
        covered = {
            name: score_set(model, path, contexts, symmetrize=True, **options) for name, options in COVERAGE.items()
        }
        sets.append(
            {
                "set": path.stem,
                **{name: int(row[name]) for name in ("series", "not_finite")},
                **{name: float(row[name]) for name in ("MASE", "rel_MASE", "WQL", "rel_WQL", "sMAPE")},
                **{name: one["coverage_error"] for name, one in covered.items()},
            }
        )

    total = {"sets": len(sets), **total_of(sets)}
    total |= {name: float(np.mean([row[name] for row in sets])) for name in COVERAGE}
    return {
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit(),
        "command": f"python pretrain/evaluate.py zoo/{release.name} --data {data}",
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, float32",
        "total": total | {"not_finite": sum(row["not_finite"] for row in sets)},
        "sets": sets,
    }


COVERAGE: dict[str, dict[str, int]] = {
    "coverage_error": {},
    "coverage_error_windows": {"windows": WINDOWS, "limit": WINDOWS},
}


def table(result: dict[str, Any]) -> str:
    lines = [
        f"`{result['command']}`, {result['date']}, commit {result['commit']}, {result['machine']}. *rel* is the score "
        "over seasonal naive's; the aggregate is the geometric mean. Coverage error: mean absolute difference between "
        f"the nine levels and their coverage, on the last window of each series, and on up to {WINDOWS} windows a set.",
        "",
        "| set | series | MASE | rel | WQL | rel | coverage error | on more windows |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in result["sets"]:
        lines.append(
            "| {set} | {series} | {MASE:.3f} | {rel_MASE:.3f} | {WQL:.4f} | {rel_WQL:.3f} | {coverage_error:.3f} "
            "| {coverage_error_windows:.3f} |".format(**row)
        )
    lines.append(
        "| **aggregate** | | | **{rel_MASE:.3f}** | | **{rel_WQL:.3f}** | {coverage_error:.3f} "
        "| {coverage_error_windows:.3f} |".format(**result["total"])
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("release", type=Path, help="for example zoo/tsar-tiny")
    parser.add_argument("--data", type=Path, required=True)
    args = parser.parse_args()
    log_to_terminal()
    result = evaluate(args.release, args.data)
    files = read_folder(args.release)
    card = files["card.md"].decode()
    before, after = card.split(BEGIN)[0], card.split(END)[1]
    files["card.md"] = f"{before}{BEGIN}\n\n{table(result)}\n\n{END}{after}".encode()
    files["eval.json"] = json.dumps(result, indent=1).encode()
    write_folder(args.release, files, name=args.release.name)
    print(table(result))


if __name__ == "__main__":
    main()
