"""Ray Data: a dataset in, a dataset out; actors keep the model between batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from tsar.distributed.partition import forecast_partition, make_worker
from tsar.errors import OptionError
from tsar.forecaster import Forecaster
from tsar.optional import require

BUCKET = "__tsar_bucket__"


def forecast_ray(
    dataset: Any,
    forecaster: Forecaster | Mapping[str, Any],
    *,
    num_workers: int = 1,
    num_gpus: float = 0,
    num_partitions: int | None = None,
    items_are_whole: bool = False,
) -> Any:
    """Forecast every item of a Ray dataset.

    Parameters
    ----------
    dataset
        ``ray.data.Dataset`` of rows, one per item and stamp.
    forecaster
        As in `forecast_partition`.
    num_workers
        Actors, each with its own copy of the model.
    num_gpus
        GPUs of each actor, also parts of one; with 0 they use a CPU each.
    num_partitions
        Groups of items that go through an actor together; None: four per actor.
    items_are_whole
        True if no item has rows in two blocks, as where each file of a dataset holds whole items; otherwise rows are
        grouped by the id first.

    Returns
    -------
    ray.data.Dataset
        Lazy; its batches are as `forecast_partition` gives them.

    Raises
    ------
    MissingDependencyError
        ``dependency.missing`` without Ray.
    OptionError
        ``option.invalid`` for a number of workers below one, and as `forecast_partition`.
    """
    actors = require("ray.data", "ray").ActorPoolStrategy
    worker = make_worker(forecaster)
    if num_workers < 1:
        raise OptionError(f"num_workers must be at least 1, got {num_workers!r}.", code="option.invalid")
    placed: dict[str, Any] = {
        "fn_constructor_args": (worker,),
        "batch_format": "pandas",
        "compute": actors(size=num_workers),
    }
    placed |= {"num_gpus": num_gpus} if num_gpus else {"num_cpus": 1}
    if items_are_whole:
        return dataset.map_batches(PartitionActor, batch_size=None, **placed)
    buckets = num_partitions or 4 * num_workers
    marked = dataset.map_batches(
        _mark_buckets, batch_format="pandas", fn_args=(worker.id_column, buckets), batch_size=None
    )
    return marked.groupby(BUCKET).map_groups(PartitionActor, **placed)


class PartitionActor:
    """Forecast batches; made once per worker process."""

    def __init__(self, forecaster: Forecaster) -> None:
        self.forecaster = forecaster

    def __call__(self, batch: pd.DataFrame) -> pd.DataFrame:
        """Forecast the items of a batch."""
        return forecast_partition(batch.drop(columns=BUCKET, errors="ignore"), self.forecaster)


def _mark_buckets(batch: pd.DataFrame, id_column: str, buckets: int) -> pd.DataFrame:
    """Give all rows of an item the same number, on every machine."""
    hashes = pd.util.hash_array(batch[id_column].astype(str).to_numpy(dtype=object), categorize=True)
    return batch.assign(**{BUCKET: (hashes % np.uint64(buckets)).astype(np.int64)})
