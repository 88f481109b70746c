"""Normalise a user's frame: check it, sort it, put every item on a regular grid, and say what was repaired."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import numpy as np
import pandas as pd
from pandas.tseries.offsets import BaseOffset

from tsar.errors import FrameError, FrequencyError, OptionError, warn
from tsar.frame.columns import Columns, make_source, read_columns, read_ids, read_stamps, read_table, read_target
from tsar.frame.covariates import CovariateColumns, read_covariates
from tsar.frame.panel import FrameReport, Panel
from tsar.freq import TimeGrid, infer_freq, make_grid
from tsar.freq.grid import dtype_of, integers, ticks_per_day
from tsar.types import FloatArray, IntArray, ObjectArray

# Closing gaps may make a frame this many times longer, and in any case this long.
_MAX_GROWTH = 100
_ALWAYS_ALLOWED_ROWS = 10_000_000
_ITEMS_NAMED = 3


def normalize_frame(
    df: Any,
    *,
    id_column: str | None = "item_id",
    timestamp_column: str = "timestamp",
    target: str = "target",
    freq: str | int | BaseOffset | timedelta | None = None,
    gaps: Literal["fill", "raise"] = "fill",
    covariates: CovariateColumns | None = None,
) -> Panel:
    """Turn a long frame, one row per item and stamp, into a panel of series on regular grids.

    Rows may come in any order; columns that are not named are ignored; the frame itself is never changed.

    Parameters
    ----------
    df : pandas, polars or pyarrow frame
        A polars `LazyFrame` is collected.
    id_column : str or None
        Column of the ids, of any type that can be compared. None: the frame is one series, with id ``"series_0"``.
    timestamp_column : str
        Column of the stamps, each the start of its period: date-times with or without a time zone, ISO 8601 text, or
        integers on a regular step.
    target : str
        Column of the values; NaN and null are missing.
    freq : str, pandas offset, timedelta, int or None
        Frequency of all items: any pandas alias, or the step of integer stamps. None infers it, for which one item
        needs three rows.
    gaps : {"fill", "raise"}
        What to do about missing rows: insert them with a missing value and warn, or refuse.
    covariates : CovariateColumns or None
        Columns to read besides the target.

    Returns
    -------
    Panel
        Items in order of first appearance. Items without any observed value are kept, their values all missing.

    Warns
    -----
    TsarWarning
        Once each for inserted rows, for items without any observed value, and for items with only one.

    Raises
    ------
    FrameError
        ``frame.not_a_frame``, ``frame.empty``, ``frame.missing_column``, ``frame.duplicate_column``, ``frame.bad_id``,
        ``frame.null_id``, ``frame.null_timestamp``, ``frame.bad_timestamp``, ``frame.mixed_time_zones``,
        ``frame.non_numeric_target``, ``frame.infinite_target``, ``frame.duplicate_timestamp``, ``frame.gap``,
        ``frame.too_many_gaps``; docs/errors.md explains each.
    FrequencyError
        ``frequency.unknown_alias``, ``frequency.unsupported``, ``frequency.cannot_infer``, ``frequency.irregular``,
        ``frequency.mixed``, ``frequency.off_grid``, ``frequency.out_of_range``.
    CovariateError
        ``covariate.bad_column``, ``covariate.too_many_categories``, ``covariate.not_static``.
    OptionError
        ``option.invalid`` for another value of `gaps`, or one name for two columns.
    """
    wanted = covariates or CovariateColumns()
    _validate_options(id_column, timestamp_column, target, gaps, wanted)
    table = read_table(df, id_column, timestamp_column, target, *wanted.names)
    columns = read_columns(table, id_column, timestamp_column, target)
    rows = _sort_rows(columns)
    _refuse_duplicates(rows)
    grid = _find_grid(rows, freq, columns.stamps_are_dates)
    positions = _place_rows(rows, grid, freq)
    values, offsets, slots = _close_gaps(rows, positions // grid.step, gaps)
    observed = np.add.reduceat(~np.isnan(values), offsets[:-1], dtype=np.int64)
    report = FrameReport(
        num_rows=len(rows.target),
        num_items=len(rows.item_ids),
        freq_inferred=freq is None,
        was_sorted=rows.order is None,
        inserted_rows=len(values) - len(rows.target),
        items_with_gaps=int(np.count_nonzero(np.diff(offsets) != np.diff(rows.offsets))),
        missing_values=int(np.isnan(rows.target).sum()),
        unobserved_items=int(np.count_nonzero(observed == 0)),
        single_value_items=int(np.count_nonzero(observed == 1)),
    )
    _warn_of_thin_items(rows.item_ids, observed)
    return Panel(
        item_ids=rows.item_ids,
        values=values,
        offsets=offsets,
        starts=positions[rows.offsets[:-1]],
        grid=grid,
        report=report,
        source=make_source(table, id_column, timestamp_column, rows.first_rows),
        covariates=read_covariates(
            table, wanted, item_ids=rows.item_ids, rows=rows.order, slots=slots, size=len(values),
            items=np.repeat(np.arange(len(rows.item_ids)), np.diff(rows.offsets)),
        ) if wanted else None,
    )  # fmt: skip


def _validate_options(
    id_column: str | None, timestamp_column: str, target: str, gaps: str, covariates: CovariateColumns
) -> None:
    if gaps not in ("fill", "raise"):
        raise OptionError(f"gaps must be 'fill' or 'raise', got {gaps!r}", code="option.invalid")
    if not isinstance(target, str):
        raise OptionError(
            f"target must be the name of one column here, got {target!r}",
            code="option.invalid",
            hint="choose one of them with target=",
        )
    names = [id_column, timestamp_column, target, *covariates.names]
    if len(set(names)) < len(names):
        raise OptionError(
            f"the id, timestamp, target and covariate columns must differ, got {', '.join(map(repr, names))}",
            code="option.invalid",
            hint="name your columns with id_column=, timestamp_column= and target=",
        )


# ---------------------------------------------------------------------------------------------------------- sorting


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """Rows of a frame sorted by item (in order of first appearance) and time.

    `offsets` (I + 1,) bound the items in `stamps` (N,) and `target` (N,); `first_rows` (I,) is where each item first
    appears in the frame, `order` (N,) where each row was in it (None: in this order).
    """

    item_ids: ObjectArray
    offsets: IntArray
    stamps: pd.Index
    target: FloatArray
    first_rows: IntArray
    order: IntArray | None

    def item_of(self, row: int) -> Any:
        """Id of the item of a sorted row."""
        return self.item_ids[int(np.searchsorted(self.offsets, row, side="right")) - 1]

    def describe(self, row: int) -> str:
        """Stamp of a sorted row, and where it was in the frame."""
        return f"timestamp {self.stamps[row]} (row {row if self.order is None else self.order[row]})"


def _sort_rows(columns: Columns) -> _Rows:
    codes, item_ids = read_ids(columns)
    stamps, target = read_stamps(columns), read_target(columns)
    first_rows = np.empty(len(item_ids), dtype=np.int64)
    first_rows[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)  # of repeated places, the last assignment stays
    ticks = integers(stamps)
    order = None
    same_item = codes[1:] == codes[:-1]
    if ((codes[1:] < codes[:-1]) | (same_item & (ticks[1:] < ticks[:-1]))).any():
        order = np.lexsort((ticks, codes))
        stamps, target = stamps.take(order), target[order]
    return _Rows(
        item_ids=item_ids,
        offsets=_bounds(np.bincount(codes)),
        stamps=stamps,
        target=target,
        first_rows=first_rows,
        order=order,
    )


def _bounds(lengths: IntArray) -> IntArray:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def _refuse_duplicates(rows: _Rows) -> None:
    ticks = integers(rows.stamps)
    repeated = np.zeros(len(ticks), dtype=bool)
    repeated[1:] = ticks[1:] == ticks[:-1]
    repeated[rows.offsets[:-1]] = False
    if not repeated.any():
        return
    row = int(np.argmax(repeated))
    raise FrameError(
        f"rows that repeat a timestamp of their item: {np.count_nonzero(repeated)}, the first {rows.describe(row)}",
        code="frame.duplicate_timestamp",
        item_ids=[rows.item_of(row)],
        hint="keep one row per item and timestamp, for example by groupby([id, timestamp]).mean(); "
        "local times around a change of clocks need a time zone",
    )


# ---------------------------------------------------------------------------------------------------------- placing


def _find_grid(rows: _Rows, freq: str | int | BaseOffset | timedelta | None, stamps_are_dates: bool) -> TimeGrid:
    dtype = dtype_of(rows.stamps)
    grid = make_grid(infer_freq(rows.stamps, rows.offsets, rows.item_ids) if freq is None else freq, dtype)
    if stamps_are_dates and grid.step % ticks_per_day(dtype):
        raise FrequencyError(
            f"dates without a time of day cannot hold steps of {grid.freq!r}",
            code="frequency.unsupported",
            hint="convert the timestamps to date-times",
        )
    return grid


def _place_rows(rows: _Rows, grid: TimeGrid, freq: object) -> IntArray:
    positions = grid.place(rows.stamps, rows.offsets)
    off_grid = grid.off_grid(positions, rows.offsets)
    if not off_grid.any():
        return positions
    row = int(np.argmax(off_grid))
    step = grid.freq if grid.freq is not None else grid.step
    raise FrequencyError(
        f"{rows.describe(row)} is not on the grid of {'the inferred ' if freq is None else ''}freq={step!r}",
        code="frequency.off_grid",
        item_ids=[rows.item_of(row)],
        hint=_fitting_freq(rows)
        if freq is not None
        else "correct the timestamp, or pass the freq= that fits all items",
    )


def _fitting_freq(rows: _Rows) -> str:
    try:
        return f"the timestamps fit freq={infer_freq(rows.stamps, rows.offsets, rows.item_ids)!r}"
    except FrequencyError:
        return "leave freq out to learn which rows disturb, or resample the rows to a regular grid first"


def _close_gaps(rows: _Rows, periods: IntArray, gaps: str) -> tuple[FloatArray, IntArray, IntArray]:
    """Return the values with missing rows inserted, the new bounds of the items, and the new place of each row."""
    first, last = rows.offsets[:-1], rows.offsets[1:] - 1
    lengths = periods[last] - periods[first] + 1
    missing = lengths - np.diff(rows.offsets)
    if not missing.any():
        return _frozen(rows.target.copy()), rows.offsets, np.arange(len(rows.target))
    before = _last_row_before_gap(periods, rows)
    if gaps == "raise":
        raise FrameError(
            f"rows are missing in {np.count_nonzero(missing)} of {len(missing)} items, first after "
            f"{rows.describe(before)}",
            code="frame.gap",
            item_ids=[rows.item_of(before)],
            hint="insert the rows, or pass gaps='fill' to have them inserted as missing values",
        )
    _refuse_explosion(rows, lengths)
    offsets = _bounds(lengths)
    values = np.full(offsets[-1], np.nan)
    slots = periods + np.repeat(offsets[:-1] - periods[first], np.diff(rows.offsets))
    values[slots] = rows.target
    warn(
        f"missing rows inserted: {missing.sum()}, in {np.count_nonzero(missing)} of {len(missing)} items, first after "
        f"{rows.describe(before)} of item {rows.item_of(before)!r}; gaps='raise' refuses such frames"
    )
    return _frozen(values), offsets, slots


def _last_row_before_gap(periods: IntArray, rows: _Rows) -> int:
    steps = np.diff(periods)
    steps[rows.offsets[1:-1] - 1] = 1
    return int(np.argmax(steps > 1))


def _refuse_explosion(rows: _Rows, lengths: IntArray) -> None:
    total = lengths.sum(dtype=np.float64)  # may be too much for an integer
    if total <= max(_ALWAYS_ALLOWED_ROWS, _MAX_GROWTH * len(rows.target)):
        return
    worst = int(np.argmax(lengths))
    bounds = rows.stamps[[rows.offsets[worst], rows.offsets[worst + 1] - 1]]
    raise FrameError(
        f"closing the gaps would make {len(rows.target)} rows {total:.3g}; the longest item goes from {bounds[0]} "
        f"to {bounds[1]}",
        code="frame.too_many_gaps",
        item_ids=[rows.item_ids[worst]],
        hint="look for a wrong timestamp, or pass a coarser freq=",
    )


def _frozen(values: FloatArray) -> FloatArray:
    values.flags.writeable = False  # a panel may be shared between threads
    return values


def _warn_of_thin_items(item_ids: ObjectArray, observed: IntArray) -> None:
    for count, what, consequence in (
        (0, "no observed value", "their predictions will be missing"),
        (1, "only one observed value", "their forecasts know no trend, season or spread of their own"),
    ):
        found = item_ids[observed == count]
        if len(found):
            named = ", ".join(repr(item_id) for item_id in found[:_ITEMS_NAMED])
            more = " and others" if len(found) > _ITEMS_NAMED else ""
            warn(f"{what} in {len(found)} of {len(item_ids)} items ({named}{more}): {consequence}")
