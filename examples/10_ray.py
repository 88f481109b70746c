"""Forecast the partitions of a Ray dataset, in local mode; the same lines run on a cluster.

Actors load the model once and keep it. Needs `pip install 'tsar-forecast[ray]'`.
"""

import numpy as np
import pandas as pd
import ray

from tsar import Forecaster
from tsar.distributed import forecast_ray


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
    ray.init(num_cpus=2, include_dashboard=False)
    dataset = ray.data.from_pandas(make_series())
    forecast = forecast_ray(dataset, forecaster, num_workers=1).to_pandas()
    ray.shutdown()
    forecast.drop(columns="error").dropna().to_parquet("forecast.parquet")
    print(forecast["error"].dropna().to_list())


if __name__ == "__main__":
    main()
