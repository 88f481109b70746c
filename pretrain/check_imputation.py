#!/usr/bin/env python
"""Compare ways to fill gaps on development sets: `impute` against interpolation with and without a season.

    python pretrain/check_imputation.py --data ../shared/data/dev_eval

Of the last 1,024 points of up to `--limit` series a set, 12.5, 25, 37.5 and 50 % are hidden in runs whose mean length
is drawn log-uniformly between 1 and 64 points, series by series. Errors are of the hidden points, in units of the
deviation of the whole series; mean over points, then over series. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from statsmodels.tsa.seasonal import STL

from tsar.hub import load_model
from tsar.tasks.impute import fill_quantiles

SETS = {"m4_hourly": 24, "bike_sharing_hourly": 24, "aus_retail_monthly": 12, "solar_eu_hourly": 24, "m4_weekly": 52}
SHARES = (0.125, 0.25, 0.375, 0.5)
LENGTH, LONGEST_MEAN = 1024, 64
Fill = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--models", nargs="+", default=["tsar-tiny"])
    parser.add_argument("--limit", type=int, default=40, help="series a set")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print("| set | hidden | score |", " | ".join(names := list(make_ways(args.models, 1))), "|")
    print("|---|--:|---|" + "--:|" * len(names))
    seconds = dict.fromkeys(names, 0.0)
    for name in args.sets:
        series = read_series(args.data / f"{name}.parquet", args.limit, args.seed)
        for share in SHARES:
            scores = {way: compare(fill, series, share, args.seed, seconds, way)
                      for way, fill in make_ways(args.models, SETS[name]).items()}  # fmt: skip
            for place, score in enumerate(("MAE", "MSE")):
                cells = [f"{value[place]:.3f}" for value in scores.values()]
                print(f"| {name} | {share:.1%} | {score} |", " | ".join(cells), "|", flush=True)
    print("\nseconds:", ", ".join(f"{way} {took:.0f}" for way, took in seconds.items()))


def make_ways(models: list[str], season: int) -> dict[str, Fill]:
    """Return name -> function that fills the gaps of one series."""
    ways: dict[str, Fill] = {"linear": linear, "STL + linear": partial(seasonal, season=season)}
    ways["seasonal means + linear"] = partial(seasonal_means, season=season)
    for model in models:
        decoder = load_model(model)
        is_forecaster = decoder.config.task == "forecast"
        ways[f"{model}" + (", both sides" if is_forecaster else "")] = partial(by_model, decoder)
        if is_forecaster:
            ways |= {f"{model}, {side} only": partial(by_model, decoder, sides=side) for side in ("left", "right")}
    return ways


def linear(values: np.ndarray) -> np.ndarray:
    """Straight lines between observed neighbours."""
    seen = np.flatnonzero(np.isfinite(values))
    return np.interp(np.arange(len(values)), seen, values[seen])


def seasonal(values: np.ndarray, season: int, rounds: int = 2) -> np.ndarray:
    """Lines through what is left without the season that STL finds (imputeTS's seadec), the season found twice."""
    filled = linear(values)
    if len(values) < 2 * season + 1 or season < 2:
        return filled
    for _ in range(rounds):
        part = STL(filled, period=season, robust=False).fit().seasonal
        filled = np.where(np.isfinite(values), values, linear(values - part) + part)
    return filled


def seasonal_means(values: np.ndarray, season: int, rounds: int = 3) -> np.ndarray:
    """Lines through what is left without the mean of each phase around a running mean over one season."""
    filled, phase = linear(values), np.arange(len(values)) % season
    seen, window = np.isfinite(values), np.ones(season) / season
    if len(values) < 2 * season or season < 2:
        return filled
    for _ in range(rounds):
        level = np.convolve(np.pad(filled, (season // 2, season - 1 - season // 2), mode="edge"), window, "valid")
        means = [np.mean((values - level)[seen & (phase == one)]) if (seen & (phase == one)).any() else 0.0
                 for one in range(season)]  # fmt: skip
        part = np.array(means)[phase]
        filled = np.where(seen, values, linear(values - part) + part)
    return filled


def by_model(decoder: object, values: np.ndarray, sides: str = "both") -> np.ndarray:
    """Median of `impute`."""
    quantiles = fill_quantiles(decoder, values, np.array([0, len(values)]), sides=sides)  # type: ignore[arg-type]
    return np.where(np.isfinite(values), values, quantiles[:, quantiles.shape[1] // 2])


def read_series(path: Path, limit: int, seed: int) -> list[np.ndarray]:
    """Return the ends of some series, without those that never vary or have gaps of their own."""
    ends = [np.asarray(target, dtype=float)[-LENGTH:] for target in pd.read_parquet(path)["target"]]
    ends = [end for end in ends if np.isfinite(end).all() and end.std() > 0 and len(end) >= 100]
    chosen = np.random.default_rng(seed).permutation(len(ends))[:limit]
    return [ends[place] for place in sorted(chosen)]


def hide(length: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """Which points to hide: runs of geometric length, their mean between 1 and 64, until the share is reached."""
    mean = np.exp(rng.uniform(0, np.log(LONGEST_MEAN)))
    hidden = np.zeros(length, dtype=bool)
    while hidden.sum() < round(share * length):
        start = rng.integers(1, length - 1)
        stop = min(start + rng.geometric(1 / mean), length - 1, start + round(share * length) - hidden.sum())
        hidden[start:stop] = True
    return hidden


def compare(
    fill: Fill, series: list[np.ndarray], share: float, seed: int, seconds: dict[str, float], way: str
) -> tuple[float, float]:
    """Return mean absolute and squared error of one way over all series; the holes depend on the seed alone."""
    began, errors = time.perf_counter(), []
    for place, values in enumerate(series):
        hidden = hide(len(values), share, np.random.default_rng([seed, place, round(1000 * share)]))
        error = (fill(np.where(hidden, np.nan, values)) - values)[hidden] / values.std()
        errors.append((np.abs(error).mean(), np.square(error).mean()))
    seconds[way] += time.perf_counter() - began
    return tuple(np.mean(errors, axis=0))  # type: ignore[return-value]


if __name__ == "__main__":
    main()
