"""Spark: a frame in, a frame out, by ``mapInPandas``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import pandas as pd

from tsar.distributed.partition import ERROR_COLUMN, forecast_partition, make_worker
from tsar.distributed.parts import ROWS_PER_PART, join_items
from tsar.forecaster import Forecaster
from tsar.frame import quantile_column
from tsar.optional import require


def forecast_spark(df: Any, forecaster: Forecaster | Mapping[str, Any], *, num_partitions: int | None = None) -> Any:
    """Forecast every item of a Spark frame.

    The rows are put into partitions by the id and sorted by it within them, so that an item is never split; Spark's
    batches of a few thousand rows are joined to parts of whole items.

    Parameters
    ----------
    df
        ``pyspark.sql.DataFrame``, long, one row per item and stamp.
    forecaster
        As in `forecast_partition`.
    num_partitions
        Partitions to make; None: as Spark is set to.

    Returns
    -------
    pyspark.sql.DataFrame
        Lazy; columns as `empty_forecast`: timestamps that are neither timestamps nor integers come back as timestamps.

    Raises
    ------
    MissingDependencyError
        ``dependency.missing`` without PySpark.
    OptionError
        As `forecast_partition`, here and not on the workers.
    """
    require("pyspark", "spark")
    worker = make_worker(forecaster)
    columns = ([] if num_partitions is None else [num_partitions]) + [worker.id_column]
    whole = df.repartition(*columns).sortWithinPartitions(worker.id_column)
    return whole.mapInPandas(partial(_forecast_batches, forecaster=worker), schema=_schema(df, worker))


def _forecast_batches(batches: Iterator[pd.DataFrame], forecaster: Forecaster) -> Iterator[pd.DataFrame]:
    for part in join_items(batches, str(forecaster.id_column), ROWS_PER_PART):
        yield forecast_partition(part, forecaster)


def _schema(df: Any, worker: Forecaster) -> Any:
    types = require("pyspark.sql.types", "spark")
    stamp = df.schema[worker.timestamp_column].dataType
    if isinstance(stamp, types.IntegralType):
        stamp = types.LongType()
    elif not isinstance(stamp, (types.TimestampType, types.TimestampNTZType)):
        stamp = types.TimestampType()
    numbers = ["predictions", *(quantile_column(level) for level in worker.quantile_levels)]
    return types.StructType(
        [
            types.StructField(str(worker.id_column), df.schema[worker.id_column].dataType),
            types.StructField(worker.timestamp_column, stamp),
            types.StructField("target_name", types.StringType()),
            *(types.StructField(name, types.DoubleType()) for name in numbers),
            types.StructField(ERROR_COLUMN, types.StringType()),
        ]
    )
