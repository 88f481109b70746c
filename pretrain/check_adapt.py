"""Whether adaptation at test time helps: MASE by adapt_steps, near and far, on the ends of a few series of some sets.

    python -W ignore pretrain/check_adapt.py --data ../shared/data/dev_eval --items 8

The last `horizon` points of each item are held back. Hourly sets are also scored 720 steps ahead, by the first and the
last 120 of them: an adaptation that runs away shows there.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd

from tsar import Forecaster
from tsar.metrics import seasonal_error

SETS = ["aus_retail_monthly", "river_flow_daily", "m4_weekly", "bike_sharing_hourly", "solar_eu_hourly"]
FAR, BLOCK = 720, 120


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--items", type=int, default=8)
    parser.add_argument("--steps", type=int, nargs="*", default=[0, 5, 20, 60])
    parser.add_argument("--sets", nargs="*", default=SETS)
    options = parser.parse_args()
    for name in options.sets:
        table = pd.read_parquet(options.data / f"{name}.parquet").head(options.items)
        season, horizon = int(table["seasonality"].iloc[0]), int(table["prediction_length"].iloc[0])
        targets = [np.asarray(target, dtype=float)[-4000:] for target in table["target"]]
        for ahead in [horizon] + ([FAR] if table["freq"].iloc[0] == "h" else []):
            kept = [target for target in targets if len(target) > ahead + 2 * season]
            line = [score(kept, ahead, season, table["freq"].iloc[0], steps) for steps in options.steps]
            print(name, len(kept), ahead, *line, sep=" | ", flush=True)


def score(targets, horizon, season, freq, steps):
    """MASE, and at the far horizon that of the first and the last block; the seconds it took."""
    parts = [
        pd.DataFrame(
            {
                "item_id": n,
                "timestamp": pd.date_range("2000-01-01", periods=len(y) - horizon, freq=freq),
                "target": y[:-horizon],
            }
        )
        for n, y in enumerate(targets)
    ]
    actual = np.stack([y[-horizon:] for y in targets])
    unit = np.array([seasonal_error(y[:-horizon], season) for y in targets])[:, None]
    began = time.perf_counter()
    forecast = Forecaster(prediction_length=horizon, freq=freq).predict(pd.concat(parts), adapt_steps=steps)
    seconds = time.perf_counter() - began
    error = np.abs(forecast["predictions"].to_numpy().reshape(actual.shape) - actual) / unit
    blocks = (
        f", first {np.nanmean(error[:, :BLOCK]):.3f}, last {np.nanmean(error[:, -BLOCK:]):.3f}"
        if horizon == FAR
        else ""
    )
    return f"{steps} steps {np.nanmean(error):.3f}{blocks} ({seconds:.0f} s)"


if __name__ == "__main__":
    main()
