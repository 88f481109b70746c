#!/usr/bin/env python
"""Score a release on a folder of evaluation sets: MASE and WQL relative to seasonal naive, and coverage.

    python pretrain/score.py runs/tsar-tiny/release --data ../shared/data/dev_eval

Works on arrays, without frames, so it is quick enough to run after every experiment. Each set is a parquet file with
the columns item_id, target (list of float), prediction_length and seasonality. Plain forecasts of one pass by default;
`--symmetrize` as in `Forecaster`. With `--windows 200` sets of few long series are scored on earlier windows too, one
horizon apart: four bike counters on one day say little about calibration, forty days of them do. With `--clip` a
forecast is clipped at zero where the history was never negative, as in `Forecaster`; coverage is that before clipping.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from tsar.baselines import seasonal_naive
from tsar.benchmark.scores import geometric_mean
from tsar.decode import decode_panel
from tsar.hub import load_model, resolve_device
from tsar.metrics import coverage, mean_absolute_scaled_error, seasonal_error, weighted_quantile_loss
from tsar.model.decoder import Decoder
from tsar.refining.history import zero_bound

LEAST_HISTORY = 600
MOST_WINDOWS_OF_A_SERIES = 40


def score_set(
    model: Decoder,
    path: Path,
    context_lengths: list[int],
    *,
    limit: int = 0,
    windows: int = 0,
    symmetrize: bool = False,
    clip: bool = False,
    forecast: Callable[..., np.ndarray] | None = None,
) -> dict[str, float | int | str]:
    table = pq.read_table(path)
    horizon, season = table["prediction_length"][0].as_py(), table["seasonality"][0].as_py()
    targets = [np.asarray(target, dtype=float) for target in table["target"].to_pylist()]
    if limit and len(targets) > limit:
        targets = [targets[i] for i in np.random.default_rng(0).choice(len(targets), limit, replace=False)]
    targets = rolling(targets, horizon, windows)
    pasts, actual = [t[:-horizon] for t in targets], np.stack([t[-horizon:] for t in targets])
    scales = np.array([seasonal_error(past, season) for past in pasts])
    levels = model.config.quantile_levels
    naive = np.stack([seasonal_naive(past, horizon, season) for past in pasts])
    began = time.perf_counter()
    values, offsets = np.concatenate(pasts), np.cumsum([0, *map(len, pasts)])
    forecast = forecast or partial(decode_panel, model)
    quantiles = forecast(values, offsets, horizon, context_lengths=context_lengths, symmetrize=symmetrize)
    free = quantiles  # at a clipped quantile all zeros would count as covered
    if clip:
        quantiles = np.maximum(quantiles, zero_bound(values, offsets)[:, None, None])
    seconds = time.perf_counter() - began
    median = quantiles[..., len(levels) // 2]
    mase, wql = mean_absolute_scaled_error(actual, median, scales), weighted_quantile_loss(actual, quantiles, levels)
    return {
        "set": path.stem,
        "windows": len(targets),
        "seconds": seconds,
        "MASE": mase,
        "WQL": wql,
        "rel_MASE": mase / mean_absolute_scaled_error(actual, naive, scales),
        "rel_WQL": wql / weighted_quantile_loss(actual, np.repeat(naive[..., None], len(levels), -1), levels),
        "coverage_error": float(np.abs(coverage(actual, free) - levels).mean()),
    }


def total_of(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Geometric means of the relative scores over sets, and the mean error of coverage."""
    total = {key: float(geometric_mean(np.array([row[key] for row in rows]))) for key in ("rel_MASE", "rel_WQL")}
    return total | {"coverage_error": float(np.mean([row["coverage_error"] for row in rows]))}


def commit() -> str:
    """Return the commit that figures are from."""
    asked = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return asked.stdout.strip()


def rolling(targets: list[np.ndarray], horizon: int, windows: int) -> list[np.ndarray]:
    """Each series as it is, and, as long as there are fewer than `windows` in all, cut by whole horizons at its end."""
    turns = min(windows // len(targets), MOST_WINDOWS_OF_A_SERIES)
    cut = [
        target[: len(target) - turn * horizon]
        for target in targets
        for turn in range(1, turns)
        if len(target) - (turn + 1) * horizon >= max(LEAST_HISTORY, 3 * horizon)
    ]
    return targets + cut


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("release", help="name or folder")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument(
        "--context-length", type=int, nargs="+", help="default: the release's own; several are averaged"
    )
    parser.add_argument("--limit", type=int, default=0, help="series a set, drawn with a fixed seed; 0 = all")
    parser.add_argument("--windows", type=int, default=0, help="use earlier windows too, up to about this many a set")
    parser.add_argument("--symmetrize", action="store_true", help="mean of f(x) and -f(-x)")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--clip", action="store_true", help="at zero, where the history was never negative")
    args = parser.parse_args()
    model = load_model(args.release, str(resolve_device("auto")))
    contexts = args.context_length or [model.config.context_length]
    rows = [
        score_set(
            model, path, contexts, limit=args.limit, windows=args.windows, symmetrize=args.symmetrize, clip=args.clip
        )
        for path in sorted(args.data.glob("*.parquet"))
    ]
    for row in rows:
        print(
            "{set:30s} windows {windows:4d}  rel_MASE {rel_MASE:.3f}  rel_WQL {rel_WQL:.3f}  coverage error "
            "{coverage_error:.3f}".format(**row)
        )
    total = total_of(rows) | {"seconds": sum(row["seconds"] for row in rows)}
    print("AGGREGATE " + "  ".join(f"{key} {value:.4f}" for key, value in total.items()))
    if args.json:
        args.json.write_text(json.dumps({"release": args.release, "total": total, "sets": rows}, indent=1))


if __name__ == "__main__":
    main()
