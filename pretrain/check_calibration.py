#!/usr/bin/env python
"""Coverage and sharpness of the 80 % band, raw and calibrated, on ends that the calibration has not seen.

    python pretrain/check_calibration.py tsar-tiny --data ../shared/data/dev_eval

At each of several cutoffs, one horizon apart, the bands are calibrated on the windows before it, as `Forecaster` with
`calibrate` does there (`tsar.conformal.calibrate_backtest`), and held against what came. Prints a table: coverage of
the 80 % band (randomised where values tie with it), its mean width in units of the seasonal error, WQL relative to raw;
medians change with calibration, too.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from tsar import Forecaster, backtest
from tsar.backtesting import BacktestResult
from tsar.benchmark.scores import geometric_mean
from tsar.conformal import METHODS, WINDOWS, calibrate_backtest
from tsar.errors import TsarWarning

EARLIER = WINDOWS[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="name or folder of a release")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--items", type=int, default=20, help="series drawn of each set")
    parser.add_argument("--windows", type=int, default=16, help="cutoffs of each series, fewer for short ones")
    parser.add_argument("--points", type=int, default=2000, help="latest points of each series")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    warnings.simplefilter("ignore", TsarWarning)
    began, rows = time.perf_counter(), {}
    cells = [f"{first} | cqr | split" for first in ("raw", "both ends raw", "width raw")] + [
        "WQL cqr / raw | split / raw"
    ]
    print(f"| set | series x windows x steps | {' | '.join(cells)} |")
    print("|---" * 13 + "|")
    for path in sorted(args.data.glob("*.parquet")):
        frame, horizon = read_set(path, args)
        windows = int(np.clip(frame.groupby("item_id").size().median() // horizon - EARLIER - 4, 3, args.windows))
        raw = backtest(
            Forecaster(args.model, prediction_length=horizon), frame, windows=windows + EARLIER, min_history=4 * horizon
        )
        results = [raw.select(range(EARLIER, windows + EARLIER))]
        results += [calibrate_backtest(raw, method, windows=EARLIER) for method in METHODS]
        coverage, inclusive, width, loss = (list(part) for part in zip(*map(measure, results), strict=True))
        rows[path.stem] = coverage, inclusive, width, loss
        size = f"{frame['item_id'].nunique()} x {windows} x {horizon}"
        print(row(path.stem, size, [*coverage, *inclusive], width, loss), flush=True)
    coverage, inclusive, width, loss = (np.array([parts[place] for parts in rows.values()]) for place in range(4))
    print(
        row(
            "mean (ratios: geometric)", "", [*coverage.mean(0), *inclusive.mean(0)], width.mean(0), geometric_mean(loss)
        )
    )
    print(f"\nmean distance of coverage from 0.8, points: {(100 * np.abs(coverage - 0.8).mean(0)).round(1)}")
    print(f"the same with both ends included: {(100 * np.abs(inclusive - 0.8).mean(0)).round(1)}")
    print(f"sets within 2 points: {(np.abs(coverage - 0.8) <= 0.02).sum(0)} of {len(rows)} (raw, cqr, split)")
    print(f"{time.perf_counter() - began:.0f} s, seed {args.seed}")


def read_set(path: Path, args: argparse.Namespace) -> tuple[pd.DataFrame, int]:
    """Some long series of a set as a long frame, and the horizon."""
    table = pq.read_table(path)
    horizon = table["prediction_length"][0].as_py()
    series = [np.asarray(target, dtype=float)[-args.points :] for target in table["target"].to_pylist()]
    long = [place for place, values in enumerate(series) if len(values) >= 13 * horizon]
    drawn = np.random.default_rng(args.seed).permutation(long)[: args.items]
    freq = table["freq"][0].as_py()
    ends = {"YE": "2000-12-31", "QE": "2000-12-31", "ME": "2000-12-31", "W-SUN": "2023-12-31"}
    parts = [
        pd.DataFrame(
            {
                "item_id": str(place),
                "timestamp": pd.date_range(end=ends.get(freq, "2024-01-01"), periods=len(series[place]), freq=freq)
                .to_numpy()
                .astype("datetime64[s]"),
                "target": series[place],
            }
        )
        for place in sorted(drawn)
    ]
    return pd.concat(parts, ignore_index=True), horizon


def measure(result: BacktestResult) -> tuple[float, float, float, float]:
    """Coverage of the 80 % band, randomised and with both ends included, its width, and WQL."""
    band = result.coverage_report(by_step=False).set_index("band").loc[0.8]
    return float(band["randomized"]), float(band["coverage"]), float(band["width"]), result.scores["WQL"]


def row(name: str, size: str, coverage: np.ndarray, width: np.ndarray, loss: np.ndarray) -> str:
    """Format a line of the table."""
    relative = np.asarray(loss) / loss[0]
    cells = [
        *(f"{share:.3f}" for share in coverage),
        *(f"{one:.2f}" for one in width),
        *(f"{r:.3f}" for r in relative[1:]),
    ]
    return f"| {name} | {size} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
