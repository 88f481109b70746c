"""What looking up neighbours is worth: MASE on development sets with neighbours=0 and 4, own past only and with others.

    python pretrain/check_context.py --data ../shared/data/dev_eval --items 20

The last horizon (the set's own, at most 48) of each item is held back; the items shown as examples are cut at the same
place.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd

from tsar import Forecaster
from tsar.metrics import mean_absolute_scaled_error, seasonal_error

SETS = ["bike_sharing_hourly", "solar_eu_hourly", "m4_hourly", "river_flow_daily", "aus_retail_monthly"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--items", type=int, default=20)
    parser.add_argument("--sets", nargs="*", default=SETS)
    options = parser.parse_args()
    for name in options.sets:
        table = pd.read_parquet(options.data / f"{name}.parquet").head(options.items)
        freq, season = table["freq"].iloc[0], int(table["seasonality"].iloc[0])
        horizon = min(int(table["prediction_length"].iloc[0]), 48)
        df = pd.concat([long(row.item_id, row.target[-3000:], freq) for row in table.itertuples()], ignore_index=True)
        tail = df.groupby("item_id").cumcount(ascending=False) < horizon
        past = df[~tail]
        actual = df[tail].groupby("item_id", sort=False)["target"].apply(np.array)
        scales = np.array(
            [seasonal_error(g.to_numpy(), season) for _, g in past.groupby("item_id", sort=False)["target"]]
        )
        forecaster = Forecaster(prediction_length=horizon, freq=freq).fit(past)
        ways = {"alone": {}, "neighbours=4": {"neighbours": 4}, "and examples": {"neighbours": 4, "examples": past}}
        line = []
        for way, extra in ways.items():
            start = time.perf_counter()
            median = forecaster.predict(**extra)["predictions"].to_numpy().reshape(-1, horizon)
            mase = mean_absolute_scaled_error(np.stack(actual.to_list()), median, scales)
            line.append(f"{way} {mase:.3f} ({time.perf_counter() - start:.0f} s)")
        print(name, len(actual), "items", horizon, *line, sep=" | ", flush=True)


def long(item_id, target, freq):
    """One item as a long frame; where in time it lies does not matter here."""
    stamps = pd.date_range("2000-01-01", periods=len(target), freq=freq)
    return pd.DataFrame({"item_id": item_id, "timestamp": stamps, "target": np.asarray(target, dtype=float)})


if __name__ == "__main__":
    main()
