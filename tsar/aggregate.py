"""Sums of sample paths over periods, with bands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import narwhals as nw
import numpy as np

from tsar.errors import OptionError
from tsar.forecast import validate_levels
from tsar.frame import quantile_column
from tsar.samples import sum_paths


def aggregate_samples(
    samples: Any,
    every: int,
    *,
    quantile_levels: Sequence[float] = (0.1, 0.5, 0.9),
    id_column: str = "item_id",
    timestamp_column: str = "timestamp",
) -> Any:
    """Sum sample paths over runs of steps, with bands: the week of seven days, the day of 24 hours.

    Bands of sums cannot be had from the bands of steps; that is what samples are for.

    Parameters
    ----------
    samples
        Frame from `Forecaster.sample`, rows as they came.
    every
        Steps in a run, counted from the first step ahead; the last run may be shorter.
    quantile_levels
        Columns of the result besides the median.
    id_column, timestamp_column
        Names of its columns.

    Returns
    -------
    frame of the kind that came in
        A row per item and run: id, first timestamp of the run, ``target_name``, ``steps`` (how many were summed),
        ``predictions`` (the median of the sums) and a column per level.

    Raises
    ------
    OptionError
        ``option.invalid`` if `every` is not a whole number from 1 or the frame is not whole; ``option.quantile_level``.
    """
    if not isinstance(every, (int, np.integer)) or isinstance(every, bool) or every < 1:
        raise OptionError(f"every must be a whole number from 1, got {every!r}.", code="option.invalid")
    levels = validate_levels(quantile_levels)
    table = nw.from_native(samples, eager_only=True)
    number = table["sample"].to_numpy()
    begins = np.flatnonzero(np.diff(number, prepend=-1) != 0)  # first row of each path
    num_samples = int(number.max()) + 1
    horizon = len(number) // max(len(begins), 1)
    if horizon * len(begins) != len(number) or len(begins) % num_samples or (np.diff(begins) != horizon).any():
        raise OptionError(
            "the frame of samples is not whole.", code="option.invalid", hint="Pass it as sample() gave it."
        )
    paths = table["predictions"].to_numpy().astype(np.float64).reshape(-1, num_samples, horizon)
    sums = sum_paths(paths, every)
    firsts = np.arange(0, horizon, every)
    rows = (np.arange(len(paths))[:, None] * num_samples * horizon + firsts).ravel()
    steps = np.tile(np.minimum(every, horizon - firsts), len(paths))
    result = table[rows].select([id_column, timestamp_column, "target_name"])
    columns = {"steps": steps, "predictions": np.median(sums, axis=1).ravel()}
    quantiles = np.quantile(sums, levels, axis=1)
    columns |= {quantile_column(level): values.ravel() for level, values in zip(levels, quantiles, strict=True)}
    new = [nw.new_series(name, values, backend=result.implementation) for name, values in columns.items()]
    if result.implementation.is_pandas():
        native = result.to_native().reset_index(drop=True)
        result = nw.from_native(native, eager_only=True)
    return result.with_columns(*new).to_native()
