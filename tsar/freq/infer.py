"""Infer the one frequency of a frame from its stamps, whole columns at a time."""

from __future__ import annotations

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

from tsar.errors import FrequencyError
from tsar.freq.alias import MONTHS, NS_PER_UNIT, WEEKDAYS, fixed_alias, multiple
from tsar.freq.grid import (
    EPOCH_WEEKDAY,
    OFF_AXIS,
    CalendarAxis,
    dtype_of,
    integers,
    make_grid,
    ticks_per_day,
    wall_clock,
)
from tsar.types import BoolArray, IntArray, ObjectArray

MIN_ROWS_TO_INFER = 3

# A grid is believed when at least this share of the steps between rows is exactly one period.
_MIN_UNIT_SHARE = 0.1
# An item on the grid is still of another frequency when all its steps are so long that chance, with every second row
# missing, would leave them with a probability of at most 2 ** -7.
_MAX_CHANCE_BITS = 7
# Days without a weekend that show that an item is kept on weekdays: (5 / 7) ** 15 is below 1 %.
_MIN_WEEKDAY_ROWS = 15


def infer_freq(stamps: pd.Index, offsets: IntArray, item_ids: ObjectArray) -> str | int:
    """Infer the one frequency of a frame: the finest grid that carries the rows of every item.

    Missing rows do no harm as long as a tenth of the steps between rows is exactly one period. Items of fewer than
    three rows have no say. The spelling is the one `pandas.infer_freq` gives for a series without gaps.

    Parameters
    ----------
    stamps : pandas.Index
        (N,) date-times or integers, items end to end, ascending and without repetition within an item.
    offsets : (I + 1,) int64
        Bounds of the items, none of them empty.
    item_ids : (I,) object
        Their ids, for messages.

    Returns
    -------
    str or int
        Canonical alias, or the step of integer stamps.

    Raises
    ------
    FrequencyError
        ``frequency.cannot_infer`` if no item has three rows; ``frequency.mixed`` if items have different frequencies;
        ``frequency.irregular`` if an item has none.
    """
    lengths = np.diff(offsets)
    long = lengths >= MIN_ROWS_TO_INFER
    if not long.any():
        raise FrequencyError(
            "a frequency cannot be inferred, since no item has three or more rows",
            code="frequency.cannot_infer",
            hint="pass freq=, for example freq='D' (for integer timestamps the step, freq=1)",
        )
    if not long.all():
        stamps, offsets, item_ids = stamps[np.repeat(long, lengths)], _bounds(lengths[long]), item_ids[long]
    return _infer_from_long_items(stamps, offsets, item_ids)


def _bounds(lengths: IntArray) -> IntArray:
    return np.concatenate([[0], np.cumsum(lengths)])


def _infer_from_long_items(stamps: pd.Index, offsets: IntArray, item_ids: ObjectArray) -> str | int:
    freq = _finest_freq(stamps, offsets)
    if freq is None:  # find out who disturbs: compare everyone with the longest item
        longest = int(np.argmax(np.diff(offsets)))
        freq = _freq_of_item(stamps, offsets, longest)
        if freq is None:
            raise _irregular(stamps, offsets, item_ids, longest)
    strangers, witnesses = _compare_items(freq, stamps, offsets)
    if not strangers.any():
        return freq
    stranger = int(np.argmax(strangers))
    other = _freq_of_item(stamps, offsets, stranger)
    if other is None or other == freq:
        raise _irregular(stamps, offsets, item_ids, stranger)
    witness = int(np.argmax(np.diff(offsets) * witnesses))
    raise _mixed(item_ids, {witness: freq, stranger: other})


def _freq_of_item(stamps: pd.Index, offsets: IntArray, item: int) -> str | int | None:
    rows = stamps[offsets[item] : offsets[item + 1]]
    return _finest_freq(rows, np.array([0, len(rows)]))


# ---------------------------------------------------------------------------------------------------------- finding


def _finest_freq(stamps: pd.Index, offsets: IntArray) -> str | int | None:
    """Frequency of the finest grid under all items pooled, None if there is no such grid."""
    if not isinstance(stamps, pd.DatetimeIndex):
        return _common_step(integers(stamps), offsets)
    wall = wall_clock(stamps, offsets)
    day = ticks_per_day(stamps.dtype)
    if (_steps(wall, offsets) % day).any():
        step = _common_step(integers(stamps), offsets)
        return None if step is None else fixed_alias(step * NS_PER_UNIT[stamps.unit])
    days = wall // day
    return _monthly_freq(stamps, offsets, days) or _business_freq(days, offsets) or _daily_freq(days, offsets)


def _steps(positions: IntArray, offsets: IntArray) -> IntArray:
    """Differences of neighbouring rows within items, items end to end."""
    return np.delete(np.diff(positions), offsets[1:-1] - 1)


def _common_step(positions: IntArray, offsets: IntArray) -> int | None:
    """Greatest common divisor of the steps within items, if enough of them are that long."""
    steps = _steps(positions, offsets)
    divisor = int(np.gcd.reduce(pd.unique(steps)))
    return divisor if np.mean(steps == divisor) >= _MIN_UNIT_SHARE else None


def _monthly_freq(stamps: pd.DatetimeIndex, offsets: IntArray, days: IntArray) -> str | None:
    sample = pd.DatetimeIndex(days[:MIN_ROWS_TO_INFER].view("M8[D]").astype("M8[s]"))
    for start_or_end in ("MS", "ME", "BMS", "BME"):
        if not all(to_offset(start_or_end).is_on_offset(date) for date in sample):  # far cheaper than all stamps
            continue
        positions = CalendarAxis(stamps.dtype, start_or_end).place(stamps, offsets)
        if (positions == OFF_AXIS).any():
            continue
        step = _common_step(positions // ticks_per_day(stamps.dtype), offsets)
        if step is not None:
            return _month_alias(start_or_end, step, month=int(sample[0].month))
    return None


def _month_alias(start_or_end: str, step: int, month: int) -> str:
    if step % 12 == 0:
        return multiple(step // 12, f"{start_or_end.replace('M', 'Y')}-{MONTHS[month - 1]}")
    if step % 3 == 0:  # of the four anchors that mean the same, pandas takes the last of the year
        return multiple(step // 3, f"{start_or_end.replace('M', 'Q')}-{MONTHS[9 + (month - 1) % 3]}")
    return multiple(step, start_or_end)


def _business_freq(days: IntArray, offsets: IntArray) -> str | None:
    """``"B"`` if no row is on a weekend and some item goes on from a Friday to the next Monday."""
    week, weekday = np.divmod(days + EPOCH_WEEKDAY, 7)
    if (weekday >= 5).any():
        return None
    numbers = week * 5 + weekday
    over_weekend = (_steps(days, offsets) == 3) & (_steps(numbers, offsets) == 1)
    return "B" if over_weekend.any() and _common_step(numbers, offsets) == 1 else None


def _daily_freq(days: IntArray, offsets: IntArray) -> str | None:
    step = _common_step(days, offsets)
    if step is None:
        return None
    if step % 7 == 0:
        return multiple(step // 7, f"W-{WEEKDAYS[int(days[0] + EPOCH_WEEKDAY) % 7]}")
    return multiple(step, "D")


# --------------------------------------------------------------------------------------------------------- checking


def _compare_items(freq: str | int, stamps: pd.Index, offsets: IntArray) -> tuple[BoolArray, BoolArray]:
    """Tell which items (I,) do not have this frequency, and which clearly have it.

    An item does not have it if a row is off its grid, or if the rows are on it but keep so far apart that the item
    has a coarser frequency of its own.
    """
    grid = make_grid(freq, dtype_of(stamps))
    positions = grid.place(stamps, offsets)
    off_grid = np.logical_or.reduceat(grid.off_grid(positions, offsets), offsets[:-1])
    step_counts = np.diff(offsets) - 1
    shortest = np.minimum.reduceat(_steps(positions, offsets), _bounds(step_counts)[:-1]) // grid.step
    strangers: BoolArray = off_grid | ((shortest - 1) * step_counts >= _MAX_CHANCE_BITS)
    if freq == "D":
        strangers |= _on_weekdays_only(positions // grid.step, offsets)
    return strangers, ~strangers & (shortest == 1)


def _on_weekdays_only(days: IntArray, offsets: IntArray) -> BoolArray:
    has_weekend = np.logical_or.reduceat((days + EPOCH_WEEKDAY) % 7 >= 5, offsets[:-1])
    weekdays_only: BoolArray = ~has_weekend & (np.diff(offsets) >= _MIN_WEEKDAY_ROWS)
    return weekdays_only


def _irregular(stamps: pd.Index, offsets: IntArray, item_ids: ObjectArray, item: int) -> FrequencyError:
    rows = stamps[offsets[item] : offsets[item + 1]]
    steps = np.diff(integers(rows))
    usual = int(pd.Series(steps).mode().iloc[0])
    odd = int(np.argmax(steps != usual))
    length = pd.Timedelta(np.timedelta64(usual, rows.unit)) if isinstance(rows, pd.DatetimeIndex) else usual
    return FrequencyError(
        f"the timestamps are irregular: the most frequent step is {length}, but {rows[odd + 1]} follows {rows[odd]}, "
        "and no frequency fits both",
        code="frequency.irregular",
        item_ids=item_ids[item : item + 1],
        hint=f"if rows are missing, pass freq={_grid_of(rows)}; otherwise resample the rows to a regular grid first",
    )


def _grid_of(rows: pd.Index) -> str:
    """The finest grid that carries an item, if not most of it would be missing; to be offered, not assumed."""
    ticks = integers(rows)
    step = int(np.gcd.reduce(np.diff(ticks)))
    if not 0 < (int(ticks[-1]) - int(ticks[0])) // step <= len(rows) / _MIN_UNIT_SHARE:
        return ""
    return repr(fixed_alias(step * NS_PER_UNIT[rows.unit]) if isinstance(rows, pd.DatetimeIndex) else step)


def _mixed(item_ids: ObjectArray, found: dict[int, str | int]) -> FrequencyError:
    (first, freq), (second, other) = sorted(found.items())
    return FrequencyError(
        f"the items have different frequencies: item {item_ids[first]!r} has {freq!r}, "
        f"item {item_ids[second]!r} has {other!r}",
        code="frequency.mixed",
        item_ids=[item_ids[first], item_ids[second]],
        hint="forecast them in separate calls, or pass freq= to put every item on one grid",
    )
