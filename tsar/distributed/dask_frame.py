"""Dask: a lazy frame in, a lazy frame out, by ``map_partitions``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tsar.distributed.partition import empty_forecast, forecast_partition, make_worker
from tsar.forecaster import Forecaster
from tsar.optional import require


def forecast_dask(df: Any, forecaster: Forecaster | Mapping[str, Any], *, items_are_whole: bool = False) -> Any:
    """Forecast every item of a Dask frame.

    Parameters
    ----------
    df
        ``dask.dataframe.DataFrame``, long, one row per item and stamp.
    forecaster
        As in `forecast_partition`.
    items_are_whole
        True if no item has rows in two partitions, as after ``set_index`` on the id; otherwise rows are shuffled by
        the id first.

    Returns
    -------
    dask.dataframe.DataFrame
        Lazy; its partitions are as `forecast_partition` gives them.

    Raises
    ------
    MissingDependencyError
        ``dependency.missing`` without Dask.
    OptionError
        As `forecast_partition`, here and not on the workers.
    """
    require("dask.dataframe", "dask")
    worker = make_worker(forecaster)
    whole = df if items_are_whole else df.shuffle(on=worker.id_column)
    return whole.map_partitions(forecast_partition, worker, meta=empty_forecast(df._meta, worker))
