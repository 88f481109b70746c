"""What several targets gain by way of each other (docs/channels.md), adapter by adapter.

    python pretrain/check_channels.py --data ../shared/data/dev_eval

Backtests of every `channel_adapter` on simulated series whose relations are known, on quarterly data of the American
economy (statsmodels), and, with `--data`, on three development sets. Read the changes against None: below zero is a
gain.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import statsmodels.api as sm

from tsar import Forecaster, backtest
from tsar.errors import TsarWarning

KINDS = ("related", "group", "attention", "pca", "linear", "vae")
MACRO = ["realgdp", "realcons", "realinv", "realdpi", "unemp", "infl", "tbilrate"]


def wide(values: np.ndarray, freq: str = "D") -> pd.DataFrame:
    """One item with the columns of (N, C) values as targets."""
    frame = pd.DataFrame(values, columns=[f"channel {number}" for number in range(values.shape[1])])
    return frame.assign(item_id="a", timestamp=pd.date_range("2020-01-01", periods=len(frame), freq=freq))


def lagged_copies(rng: np.random.Generator) -> pd.DataFrame:
    """A random walk, and three that follow its changes 3, 6 and 9 steps later, in noise."""
    changes = rng.normal(size=(500, 4))
    for number in (1, 2, 3):
        changes[3 * number :, number] = 0.9 * changes[: -3 * number, 0] + 0.4 * changes[3 * number :, number]
    return wide(100 + changes.cumsum(0))


def mixtures(rng: np.random.Generator) -> pd.DataFrame:
    """Six sensors of two smooth causes, each in noise of its own."""
    time_ = np.arange(500)
    causes = np.stack([np.sin(2 * np.pi * time_ / 17), np.cos(2 * np.pi * time_ / 41)], 1)
    return wide(causes @ rng.normal(size=(2, 6)) + rng.normal(size=(500, 6)))


def apart(rng: np.random.Generator) -> pd.DataFrame:
    """Random walks that have nothing to do with each other."""
    return wide(100 + rng.normal(size=(500, 4)).cumsum(0))


def macro(rng: np.random.Generator) -> pd.DataFrame:
    """Quarterly indicators of the American economy, 1959 to 2009."""
    data = sm.datasets.macrodata.load_pandas().data[MACRO]
    return data.assign(item_id="US", timestamp=pd.date_range("1959-01-01", periods=len(data), freq="QS"))


def read_channels(path: Path, size: int, series: int) -> pd.DataFrame:
    """The last points of the first series of a development set that end together, as targets of one item."""
    table = pd.read_parquet(path).sort_values("item_id")
    table["end"] = [
        pd.Timestamp(row.start) + len(row.target) * pd.tseries.frequencies.to_offset(row.freq)
        for row in table.itertuples()
    ]
    table = table[(table["end"] == table["end"].mode()[0]) & (table["target"].map(len) >= size)].head(series)
    values = np.stack([np.asarray(target, dtype=float)[-size:] for target in table["target"]], 1)
    return wide(values, freq=table["freq"].iloc[0])


MADE: dict[str, tuple[Callable[[np.random.Generator], pd.DataFrame], int]] = {
    "lagged copies": (lagged_copies, 8),
    "mixtures of two causes": (mixtures, 12),
    "nothing in common": (apart, 8),
    "macrodata": (macro, 4),
}
"""Name -> how it is made, and the horizon."""

READ = {
    "air quality, Valencia": ("air_quality_valencia_hourly", 1500, 5, 24),
    "solar, Europe": ("solar_eu_hourly", 1500, 5, 24),
    "retail, Australia": ("aus_retail_monthly", 300, 6, 12),
}
"""Name -> the development set, its last points and first series, and the horizon."""


def main() -> None:
    """Print one row per set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of development sets; without it these are left out")
    parser.add_argument("--windows", type=int, default=4)
    parser.add_argument("--context-length", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sets", nargs="+", choices=[*MADE, *READ], help="default: all")
    args = parser.parse_args()
    warnings.simplefilter("ignore", TsarWarning)
    print(f"| set | MASE alone | {' | '.join(KINDS)} | seconds |\n|---|---|{'---|' * len(KINDS)}---|")
    for name in args.sets or [*MADE, *(READ if args.data else [])]:
        if name in MADE:
            make, horizon = MADE[name]
            frame = make(np.random.default_rng(args.seed))
        else:
            file, size, series, horizon = READ[name]
            frame = read_channels(args.data / f"{file}.parquet", size, series)
        targets = [column for column in frame if column not in ("item_id", "timestamp")]
        scores, start = {}, time.perf_counter()
        for kind in (None, *KINDS):
            options = {"context_length": args.context_length, "channel_adapter": kind}
            forecaster = Forecaster(target=targets, prediction_length=horizon, **options)
            scores[kind] = pd.Series(backtest(forecaster, frame, windows=args.windows).scores)
        changes = [scores[kind] / scores[None] - 1 for kind in KINDS]
        cells = [f"{change['MASE']:+.1%} / {change['WQL']:+.1%}" for change in changes]
        seconds = time.perf_counter() - start
        print(f"| {name} | {scores[None]['MASE']:.3f} | {' | '.join(cells)} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
