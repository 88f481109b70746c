#!/usr/bin/env python
"""How the error grows far ahead: model and seasonal naive on the hourly development sets, by blocks of the horizon.

    python pretrain/check_horizon.py tsar-tiny --data ../shared/data/dev_eval

Prints the mean absolute scaled error of each block of the horizon for both, and their ratio: a ratio that does not rise
means that the model's error grows no faster than seasonal naive's. Also the share of values inside the 80 % band, which
falls where bands stop growing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from tsar.baselines import seasonal_naive
from tsar.benchmark.scores import geometric_mean
from tsar.decode import decode_panel
from tsar.hub import load_model, resolve_device
from tsar.metrics import seasonal_error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="name or folder of a release")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--horizon", type=int, default=720)
    parser.add_argument("--block", type=int, default=120)
    parser.add_argument(
        "--limit", type=int, default=50, help="windows a set: the last ones of each series, one horizon apart"
    )
    args = parser.parse_args()
    model = load_model(args.model, str(resolve_device("auto")))
    levels = list(model.config.quantile_levels)
    low, middle, high = levels.index(0.1), levels.index(0.5), levels.index(0.9)
    ends = range(args.block, args.horizon + 1, args.block)
    ratios = []
    for path in sorted(args.data.glob("*.parquet")):
        table = pq.read_table(path)
        if set(table["freq"].to_pylist()) != {"h"}:
            continue
        season = table["seasonality"][0].as_py()
        windows = rolling(
            [np.asarray(t, dtype=float) for t in table["target"].to_pylist()], args.horizon, season, args.limit
        )
        pasts, actual = [past for past, _ in windows], np.stack([future for _, future in windows])
        scales = np.array([seasonal_error(past, season) for past in pasts])[:, None]
        naive = np.stack([seasonal_naive(past, args.horizon, season) for past in pasts])
        offsets = np.cumsum([0, *map(len, pasts)])
        quantiles = decode_panel(
            model,
            np.concatenate(pasts),
            offsets,
            args.horizon,
            context_lengths=[model.config.context_length],
            symmetrize=True,
        )
        errors = [np.abs(actual - forecast) / scales for forecast in (quantiles[..., middle], naive)]
        inside = np.where(
            np.isfinite(actual), (actual >= quantiles[..., low]) & (actual <= quantiles[..., high]), np.nan
        )
        print(f"{path.stem}: {len(windows)} windows of {args.horizon} steps")
        row = []
        for end in ends:
            block = slice(end - args.block, end)
            ours, theirs = (float(np.nanmean(error[:, block])) for error in errors)
            row.append(ours / theirs)
            print(
                f"  steps {end - args.block + 1:4d}-{end:4d}  MASE {ours:6.3f}  seasonal naive {theirs:6.3f}  "
                f"ratio {ours / theirs:.3f}  inside 80 % band {np.nanmean(inside[:, block]):.2f}"
            )
        ratios.append(row)
    mean = geometric_mean(np.array(ratios))
    print(
        "geometric mean of the ratios:",
        "  ".join(f"to {end}: {value:.3f}" for end, value in zip(ends, mean, strict=True)),
    )


def rolling(targets: list[np.ndarray], horizon: int, season: int, limit: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Histories and futures, newest first, at least eight seasons of history each."""
    windows = []
    for back in range(limit):
        for target in targets:
            end = len(target) - back * horizon
            if end - horizon >= 8 * season and len(windows) < limit:
                windows.append((target[: end - horizon], target[end - horizon : end]))
    return windows


if __name__ == "__main__":
    main()
