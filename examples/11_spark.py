"""Forecast the partitions of a Spark frame, in local mode; the same lines run on a cluster.

Needs Java 17 or newer and `pip install 'tsar-forecast[spark]'`.
"""

import os
import sys

import numpy as np
import pandas as pd
from pyspark.sql import SparkSession

from tsar import Forecaster
from tsar.distributed import forecast_spark


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
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # else the workers are the python3 of the PATH
    spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", False).getOrCreate()
    frame = spark.createDataFrame(make_series())
    forecast = forecast_spark(frame, forecaster, num_partitions=2).toPandas()
    spark.stop()
    forecast.drop(columns="error").dropna().to_parquet("forecast.parquet")
    print(forecast["error"].dropna().to_list())


if __name__ == "__main__":
    main()
