"""Forecast the partitions of a Dask frame, in local mode; the same lines run on a cluster.

Nothing is computed before `compute`. Needs `pip install 'tsar-forecast[dask]'`.
"""

import dask.dataframe as dd
import numpy as np
import pandas as pd

from tsar import Forecaster
from tsar.distributed import forecast_dask


def make_series(num_items: int = 40, length: int = 120) -> pd.DataFrame:
    """Return daily series with a week in them; the last one is broken."""
    rng, days = np.random.default_rng(0), pd.date_range("2024-01-01", periods=length, freq="D")
    values = 100 + 20 * np.sin(2 * np.pi * np.arange(length) / 7) + rng.normal(0, 5, (num_items, length))
    values[-1, 50] = np.inf
    ids = np.repeat([f"shop {item}" for item in range(num_items)], length)
    return pd.DataFrame({"item_id": ids, "timestamp": np.tile(days, num_items), "target": values.ravel()})


def main() -> None:
    """Run the demonstration."""
    forecaster = Forecaster("tsar-tiny", freq="D", prediction_length=7)
    frame = dd.from_pandas(make_series(), npartitions=3)
    forecast = forecast_dask(frame, forecaster).compute(scheduler="synchronous")
    forecast.drop(columns="error").dropna().to_parquet("forecast.parquet")
    print(forecast["error"].dropna().to_list())


if __name__ == "__main__":
    main()
