#!/usr/bin/env python
"""What several targets are worth to each other: MASE and WQL of each `channel_adapter` against none, window by window.

    python -W ignore pretrain/check_mixing.py --data ../shared/data/dev_eval --adapters related linear pca

Simulated systems whose coupling is known, series that ship with statsmodels, and development sets whose series are
channels of one thing. The last windows of each set are forecast, each from all that came before it (at most `--history`
points), so whatever an adapter learns it learns from the past; `fit` sees what came before the first window. `wins`
counts windows with a lower MASE than without.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd

from tsar import Forecaster
from tsar.metrics import mean_absolute_scaled_error, seasonal_error, weighted_quantile_loss

LEVELS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
SIMULATED = ("lagged", "mixed", "uncoupled")


def simulate(name: str, seed: int = 0, size: int = 1200) -> tuple[np.ndarray, str, int, int]:
    """Channels (C, N), freq, horizon, season: copies that follow a leader, mixtures of a wave, or nothing in common."""
    rng = np.random.default_rng(seed)
    if name == "lagged":
        leader = np.zeros(size + 16)
        for n in range(2, size + 16):
            leader[n] = 0.6 * leader[n - 1] - 0.3 * leader[n - 2] + rng.normal()
        followers = [leader[16 - lag : 16 - lag + size] for lag in (0, 4, 8)]
        return np.stack(followers) + 0.2 * rng.normal(size=(3, size)), "D", 8, 1
    if name == "mixed":
        wave = 3 * np.sin(2 * np.pi * np.arange(size) / 13)
        causes = np.stack([wave, 2 * rng.normal(size=size), rng.normal(size=size)])
        return rng.normal(size=(3, 3)) @ causes, "D", 8, 1
    waves = [3 * np.sin(2 * np.pi * np.arange(size) / period + period) for period in (7, 12, 30)]
    return np.stack(waves) + rng.normal(size=(3, size)), "D", 8, 1


def load_channels(name: str, folder: Path) -> tuple[np.ndarray, str, int, int]:
    """Channels (C, N), freq, horizon and season of a set."""
    if name.rstrip("0123456789") in SIMULATED:  # uncoupled3: with another seed
        kind = name.rstrip("0123456789")
        return simulate(kind, int(name.removeprefix(kind) or 0))
    if name == "macrodata":
        from statsmodels.datasets import macrodata

        table = macrodata.load_pandas().data.drop(columns=["year", "quarter"])
        return table.to_numpy(dtype=float).T, "QS", 8, 4
    table = pd.read_parquet(folder / f"{name}.parquet")
    if name == "aus_retail_monthly":  # one trade in all states and territories
        table = table[table["item_id"].str.endswith("/Department stores")]
    if name in ("river_flow_daily", "solar_eu_hourly"):
        table = table.head(8)
    size = min(map(len, table["target"]))
    first = table.iloc[0]
    channels = np.stack([np.asarray(target, dtype=float)[-size:] for target in table["target"]])
    return channels, str(first["freq"]), int(first["prediction_length"]), int(first["seasonality"])


def score(channels: np.ndarray, freq: str, horizon: int, season: int, adapter: str | None, windows: int) -> dict:
    """MASE by window (W, C), WQL over all, and seconds."""
    names = [f"c{number}" for number in range(len(channels))]
    forecaster = Forecaster(
        target=names, id_column=None, freq=freq, prediction_length=horizon, channel_adapter=adapter, random_state=0
    )
    began, medians, laws, truths, scales = time.process_time(), [], [], [], []
    for back in range(windows, 0, -1):
        end = channels.shape[1] - back * horizon
        past = pd.DataFrame(channels[:, :end].T, columns=names)
        past["timestamp"] = pd.date_range("1960-01-01", periods=end, freq=freq)
        if back == windows:
            forecaster.fit(past)
        law = forecaster.predict_quantiles(past).at(LEVELS)
        laws.append(law)
        medians.append(law[..., 4])
        truths.append(channels[:, end : end + horizon])
        scales.append([seasonal_error(row, season) for row in channels[:, :end]])
    seconds = time.process_time() - began
    by_window = [
        mean_absolute_scaled_error(truth, median, np.array(scale))
        for truth, median, scale in zip(truths, medians, scales, strict=True)
    ]
    wql = weighted_quantile_loss(np.concatenate(truths), np.concatenate(laws), LEVELS)
    return {"by_window": np.array(by_window), "WQL": float(wql), "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--adapters", nargs="*", default=["related", "attention", "linear", "pca"])
    parser.add_argument("--windows", type=int, default=6)
    parser.add_argument("--history", type=int, default=2000)
    parser.add_argument("--sets", nargs="*", default=[*SIMULATED, "macrodata", "bike_sharing_hourly"])
    options = parser.parse_args()
    for name in options.sets:
        channels, freq, horizon, season = load_channels(name, options.data)
        channels = channels[:, -options.history - options.windows * horizon :]
        plain = None
        for adapter in [None, *options.adapters]:
            row = score(channels, freq, horizon, season, adapter, options.windows)
            plain = plain or row
            wins = int((row["by_window"] < plain["by_window"]).sum())
            print(
                f"{name:28} {len(channels):2} channels  {adapter!s:10} MASE {row['by_window'].mean():.4f} "
                f"({row['by_window'].mean() / plain['by_window'].mean():.3f})  WQL {row['WQL']:.4f} "
                f"({row['WQL'] / plain['WQL']:.3f})  wins {wins}/{options.windows}  {row['seconds']:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
