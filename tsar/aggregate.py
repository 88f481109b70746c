"""Sums of sample paths over periods, with bands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import narwhals as nw
import numpy as np

from tsar.errors import OptionError
from tsar.forecast import validate_levels
from tsar.frame import quantile_column
from tsar.frame.columns import read_table
from tsar.samples import sum_paths
from tsar.validation import validate_count


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
    FrameError
        ``frame.not_a_frame``, ``frame.missing_column``, ``frame.empty`` for what is no frame of samples.
    """
    validate_count("every", every)
    levels = validate_levels(quantile_levels)
    table = read_table(samples, id_column, timestamp_column, "target_name", "sample", "predictions")
    num_samples, horizon = _shape_of_paths(table, id_column)
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


def _shape_of_paths(table: nw.DataFrame[Any], id_column: str) -> tuple[int, int]:
    """S and F of a frame in which every series has S paths of F steps, one after the other."""
    number = table["sample"].to_numpy()
    is_new = np.diff(number, prepend=-1) != 0
    for column in (id_column, "target_name"):  # of a single path each, series differ by these alone
        names = table[column].to_numpy()
        is_new[1:] |= names[1:] != names[:-1]
    begins = np.flatnonzero(is_new)
    num_samples, horizon = int(number.max()) + 1, len(number) // len(begins)
    is_whole = (np.diff(begins, append=len(number)) == horizon).all()
    if not is_whole or not np.array_equal(number[begins], np.resize(np.arange(num_samples), len(begins))):
        raise OptionError(
            "the frame of samples is not whole.", code="option.invalid", hint="Pass it as sample() gave it."
        )
    return num_samples, horizon
