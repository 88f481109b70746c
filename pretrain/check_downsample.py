#!/usr/bin/env python
"""What the coarse view of `Forecaster(downsample=…)` is worth: MASE and WQL with and without it.

    python pretrain/check_downsample.py tsar-tiny --corpus ../shared/data/corpus --data ../shared/data/dev_eval

No development set has steps of a few minutes, so sources of the training corpus stand in for them, which says less; the
two daily development sets are tried with the rate of a week.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from score import rolling

from tsar.baselines import seasonal_naive
from tsar.decode import decode_panel
from tsar.hub import load_model
from tsar.metrics import mean_absolute_scaled_error, seasonal_error, weighted_quantile_loss
from tsar.refining.history import downsample, follow_coarse

SOURCES = {  # source of the corpus -> frequency, horizon, season, rate
    "jena_weather": ("10min", 144, 144, 6),
    "los_loop_speed": ("5min", 144, 288, 12),
    "simbench_profiles": ("15min", 96, 96, 4),
}
SETS = {"river_flow_daily": 7, "wiki_pageviews_daily": 7}
SERIES, LONGEST = 60, 20_000


def cases(corpus: Path, data: Path) -> Iterator[tuple[str, list[np.ndarray], int, int, int]]:
    """Name, series that end with what is to be forecast, horizon, season, rate."""
    for name, (freq, horizon, season, rate) in SOURCES.items():
        table = pq.read_table(corpus / f"{name}.parquet", filters=[("freq", "==", freq)])
        picked = np.random.default_rng(0).permutation(len(table))[:SERIES]
        series = [np.asarray(table["target"][int(row)].as_py(), dtype=float)[-LONGEST:] for row in picked]
        yield name, series, horizon, season, rate
    for name, rate in SETS.items():
        table = pq.read_table(data / f"{name}.parquet")
        horizon, season = table["prediction_length"][0].as_py(), table["seasonality"][0].as_py()
        yield (
            name,
            rolling([np.asarray(t, float) for t in table["target"].to_pylist()], horizon, 200),
            horizon,
            season,
            rate,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    args = parser.parse_args()
    model = load_model(args.model)
    levels, longest = model.config.quantile_levels, model.config.context_length
    decode = partial(decode_panel, model, context_lengths=[longest], symmetrize=True)
    for name, series, horizon, season, rate in cases(args.corpus, args.data):
        series = [one for one in series if np.nanstd(one[-horizon - longest : -horizon]) > 0]
        pasts, actual = [one[:-horizon] for one in series], np.stack([one[-horizon:] for one in series])
        scales = np.array([seasonal_error(past, season) for past in pasts])
        naive = np.stack([seasonal_naive(past, horizon, season) for past in pasts])
        values, offsets = np.concatenate(pasts), np.cumsum([0, *map(len, pasts)])
        plain = decode(values, offsets, horizon)
        coarse = decode(*downsample(values, offsets, rate, longer_than=longest), -(-horizon // rate))
        base = mean_absolute_scaled_error(actual, naive, scales)
        base_wql = weighted_quantile_loss(actual, np.repeat(naive[..., None], len(levels), -1), levels)
        for weight in (0.0, 0.25, 0.5, 1.0):
            quantiles = follow_coarse(plain, coarse, rate, weight)
            mase = mean_absolute_scaled_error(actual, quantiles[..., len(levels) // 2], scales) / base
            wql = weighted_quantile_loss(actual, quantiles, levels) / base_wql
            print(
                f"{name:22s} windows {len(series):4d}  rate {rate:2d}  weight {weight:4.2f}  {mase:.3f} / {wql:.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
