"""Time grids: count the periods of stamps, and make the stamps of periods.

A `TimeGrid` places stamps on an integer axis on which neighbouring periods are `TimeGrid.step` apart, so that all else
(gaps, future stamps) is integer arithmetic over whole columns:

===========  ==============================================  =====================================================
axis         frequencies                                     position of a stamp
===========  ==============================================  =====================================================
integer      integer stamps                                  the stamp
instant      fixed steps: h, min, s, ms, us, ns              time since the epoch in UTC
wall         D, W                                            wall-clock time since the epoch
business     B                                               (number of the weekday) * day + time of day
calendar     MS, ME, QS, QE, YS, YE, SMS, BME, WOM-3FRI, …   (number of the anchored date) * day + time of day
===========  ==============================================  =====================================================

Frequencies of a day and more are therefore kept by the wall clock of the stamps' time zone, shorter ones by UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta, tzinfo
from typing import Any, Protocol, TypeAlias, cast

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset
from pandas.tseries.offsets import BaseOffset, BusinessDay, Day, Tick, Week

from tsar.errors import FrequencyError
from tsar.freq.alias import NS_PER_DAY, NS_PER_UNIT, WEEKDAYS, canonical_freq
from tsar.types import BoolArray, IntArray

StampDtype: TypeAlias = np.dtype[Any] | pd.DatetimeTZDtype

EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday
OFF_AXIS = int(np.iinfo(np.int64).min)  # position of a stamp that an axis has no place for
_SECONDS_PER_DAY = 86_400
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896  # years 1 and 9999, where the calendar of pandas offsets ends


@dataclass(frozen=True, kw_only=True)
class TimeGrid:
    """A regular time axis.

    Attributes
    ----------
    freq : str or None
        Canonical alias; None for integer stamps.
    step : int
        Distance of neighbouring periods on the axis.
    """

    freq: str | None
    step: int
    _axis: Axis

    def place(self, stamps: pd.Index, offsets: IntArray) -> IntArray:
        """Place stamps on the axis.

        Parameters
        ----------
        stamps : pandas.Index
            (N,) stamps of the type the grid was made for, items end to end, ascending within each.
        offsets : (I + 1,) int64
            Bounds of the items, none of them empty.

        Returns
        -------
        (N,) int64
            `OFF_AXIS` where the frequency has no such stamp (a Saturday for ``B``).
        """
        return self._axis.place(stamps, offsets)

    def off_grid(self, positions: IntArray, offsets: IntArray) -> BoolArray:
        """Mark the rows that are not a positive whole number of periods after the row before them in their item."""
        steps = np.diff(positions, prepend=0)
        steps[offsets[:-1]] = self.step
        off: BoolArray = (positions == OFF_AXIS) | (steps <= 0)
        if self.step > 1:
            off |= steps % self.step != 0
        return off

    def stamps(self, positions: IntArray) -> pd.Index:
        """Return the stamps at positions of the axis, in the type and zone of the stamps the grid was made for.

        Wall-clock times that a change of clocks skips move forward to the first that exists; of those that come
        twice the first is taken.

        Raises
        ------
        FrequencyError
            ``frequency.out_of_range`` if a stamp does not fit in the type.
        """
        try:
            return self._axis.stamps(positions)
        except (pd.errors.OutOfBoundsDatetime, OverflowError) as error:
            raise _out_of_range() from error

    def future_stamps(self, last_positions: IntArray, prediction_length: int) -> pd.Index:
        """Return the stamps of the periods that follow each last position.

        Parameters
        ----------
        last_positions : (I,) int64
            Position of the last row of each item.
        prediction_length : int
            Number of periods F.

        Returns
        -------
        pandas.Index
            (I * F,) item by item, time ascending.

        Raises
        ------
        FrequencyError
            ``frequency.out_of_range`` if a stamp does not fit in the type.
        """
        distinct, inverse = np.unique(last_positions, return_inverse=True)  # items mostly end together
        _check_range(distinct, OFF_AXIS, np.iinfo(np.int64).max - prediction_length * self.step)
        ahead = np.arange(1, prediction_length + 1, dtype=np.int64)
        stamps = self.stamps((distinct[:, None] + self.step * ahead).ravel())
        return stamps.take((inverse[:, None] * prediction_length + ahead - 1).ravel())


def make_grid(freq: str | int | BaseOffset | timedelta, dtype: StampDtype) -> TimeGrid:
    """Make the grid of a frequency for stamps of a type.

    Parameters
    ----------
    freq : str, pandas offset, timedelta or int
        An alias for date-time stamps, the step for integer stamps.
    dtype : dtype
        Type of the stamps: ``datetime64[unit]``, `pandas.DatetimeTZDtype` or an integer type.

    Raises
    ------
    FrequencyError
        ``frequency.unknown_alias``; ``frequency.unsupported`` if the stamps are integers and `freq` is an alias (or the
        other way round), or the type of the stamps is too coarse for the frequency.
    """
    if not is_datetime(dtype):
        return _make_integer_grid(freq, dtype)
    if isinstance(freq, int):
        raise FrequencyError(
            f"the frequency {freq!r} is a number but the timestamps are date-times",
            code="frequency.unsupported",
            hint="pass an alias such as freq='h' or freq='D'",
        )
    alias = canonical_freq(freq)
    offset, day = to_offset(alias), ticks_per_day(dtype)
    if isinstance(offset, Day):
        return TimeGrid(freq=alias, step=offset.n * day, _axis=_WallAxis(dtype))
    if isinstance(offset, Tick):
        return TimeGrid(freq=alias, step=_whole_ticks(alias, offset.nanos, dtype), _axis=_InstantAxis(dtype))
    if isinstance(offset, Week):
        return TimeGrid(freq=alias, step=offset.n * 7 * day, _axis=_WallAxis(dtype, WEEKDAYS.index(alias[-3:])))
    if isinstance(offset, BusinessDay):
        return TimeGrid(freq=alias, step=offset.n * day, _axis=BusinessAxis(dtype))
    return TimeGrid(freq=alias, step=offset.n * day, _axis=CalendarAxis(dtype, offset.base.freqstr))


def _make_integer_grid(freq: object, dtype: StampDtype) -> TimeGrid:
    if isinstance(freq, str) and freq.isdecimal():
        freq = int(freq)
    if not isinstance(freq, int | np.integer) or isinstance(freq, bool) or freq < 1:
        raise FrequencyError(
            f"the frequency {freq!r} does not fit integer timestamps",
            code="frequency.unsupported",
            hint="leave freq out, pass the step as a positive integer, or convert the timestamps to date-times",
        )
    return TimeGrid(freq=None, step=int(freq), _axis=_IntegerAxis(dtype))


def _whole_ticks(alias: str, nanos: int, dtype: StampDtype) -> int:
    ticks, rest = divmod(nanos, NS_PER_UNIT[unit_of(dtype)])
    if rest:
        raise FrequencyError(
            f"timestamps of type {dtype} cannot hold steps of {alias!r}",
            code="frequency.unsupported",
            hint="convert the timestamps to a finer type",
        )
    return ticks


# ------------------------------------------------------------------------------------------------------------- axes


class Axis(Protocol):
    """Turns stamps into positions on an integer axis and back (see the table at the top)."""

    def place(self, stamps: pd.Index, offsets: IntArray) -> IntArray:
        """Position of each stamp (N,) of the items bounded by `offsets` (I + 1,)."""

    def stamps(self, positions: IntArray) -> pd.Index:
        """Stamp at each position."""


@dataclass(frozen=True)
class _IntegerAxis:
    dtype: StampDtype

    def place(self, stamps: pd.Index, offsets: IntArray) -> IntArray:
        return integers(stamps)

    def stamps(self, positions: IntArray) -> pd.Index:
        limits = np.iinfo(str(self.dtype))
        _check_range(positions, limits.min, limits.max)
        index: pd.Index = pd.Index(positions.astype(str(self.dtype)))
        return index


@dataclass(frozen=True)
class _InstantAxis:
    dtype: StampDtype

    def place(self, stamps: pd.Index, offsets: IntArray) -> IntArray:
        return pd.DatetimeIndex(stamps).asi8

    def stamps(self, positions: IntArray) -> pd.Index:
        utc = _from_ticks(positions, self.dtype)
        return utc if zone_of(self.dtype) is None else utc.tz_localize("UTC").tz_convert(zone_of(self.dtype))


@dataclass(frozen=True)
class _WallAxis:
    dtype: StampDtype
    weekday: int | None = None

    def place(self, stamps: pd.Index, offsets: IntArray) -> IntArray:
        wall = wall_clock(stamps, offsets)
        if self.weekday is None:
            return wall
        days = wall // ticks_per_day(self.dtype)
        return np.where((days + EPOCH_WEEKDAY) % 7 == self.weekday, wall, OFF_AXIS)

    def stamps(self, positions: IntArray) -> pd.Index:
        return _from_wall_clock(positions, self.dtype)


@dataclass(frozen=True)
class BusinessAxis:
    """Mondays to Fridays, numbered from the Monday of the week of 1970-01-01."""

    dtype: StampDtype

    def place(self, stamps: pd.Index, offsets: IntArray) -> IntArray:
        """Position of each stamp; none for weekends."""
        day = ticks_per_day(self.dtype)
        days, time_of_day = np.divmod(wall_clock(stamps, offsets), day)
        week, weekday = np.divmod(days + EPOCH_WEEKDAY, 7)
        return np.where(weekday < 5, (week * 5 + weekday) * day + time_of_day, OFF_AXIS)

    def stamps(self, positions: IntArray) -> pd.Index:
        """Stamp at each position."""
        numbers, time_of_day = np.divmod(positions, ticks_per_day(self.dtype))
        week, weekday = np.divmod(numbers, 5)
        return _from_days(week * 7 + weekday - EPOCH_WEEKDAY, time_of_day, self.dtype)


@dataclass(frozen=True)
class CalendarAxis:
    """The dates of any pandas offset, numbered from the first one that is not before 1970."""

    dtype: StampDtype
    alias: str

    def place(self, stamps: pd.Index, offsets: IntArray) -> IntArray:
        """Position of each stamp; none for days that are not dates of the offset."""
        day = ticks_per_day(self.dtype)
        days, time_of_day = np.divmod(wall_clock(stamps, offsets), day)
        dates, zero = self._dates_between(int(days.min()), int(days.max()))
        rows = np.minimum(np.searchsorted(dates, days), len(dates) - 1)
        return np.where(dates[rows] == days, (rows - zero) * day + time_of_day, OFF_AXIS)

    def stamps(self, positions: IntArray) -> pd.Index:
        """Stamp at each position."""
        if not positions.size:
            return _from_wall_clock(positions, self.dtype)
        numbers, time_of_day = np.divmod(positions, ticks_per_day(self.dtype))
        dates, zero = self._dates_numbered(int(numbers.min()), int(numbers.max()))
        return _from_days(dates[numbers + zero], time_of_day, self.dtype)

    def _dates_between(self, first_day: int, last_day: int) -> tuple[IntArray, int]:
        if first_day < _FIRST_DAY or last_day > _LAST_DAY:
            raise _out_of_range()
        year = 366  # so that there is a date even if all stamps are on one day
        dates = self._dates(start=_midnight(min(first_day, 0)), end=_midnight(max(last_day, year)))
        return dates, int(np.searchsorted(dates, 0))

    def _dates_numbered(self, first: int, last: int) -> tuple[IntArray, int]:
        later = self._dates(start=_midnight(0), periods=max(last, 0) + 1)
        earlier = self._dates(end=_midnight(-1), periods=max(-first, 0))
        if len(later) <= last or len(earlier) < -first:
            raise _out_of_range()
        return np.concatenate([earlier, later]), len(earlier)

    def _dates(self, **bounds: Any) -> IntArray:
        """Days since the epoch; at the end of its calendar, pandas fails in several ways or stops in silence."""
        try:
            days: IntArray = pd.date_range(**bounds, freq=self.alias, unit="s").asi8 // _SECONDS_PER_DAY
        except (ValueError, OverflowError) as error:
            raise _out_of_range() from error
        return days


# ------------------------------------------------------------------------------------------------ stamps and clocks


def is_datetime(dtype: StampDtype) -> bool:
    """Tell date-times, naive or not, from integers."""
    return isinstance(dtype, pd.DatetimeTZDtype) or dtype.kind == "M"


def dtype_of(stamps: pd.Index) -> StampDtype:
    """Type of stamps that are date-times or integers."""
    return cast(StampDtype, stamps.dtype)


def unit_of(dtype: StampDtype) -> str:
    """Resolution of a date-time type: ``"s"``, ``"ms"``, ``"us"`` or ``"ns"``."""
    return str(dtype.unit if isinstance(dtype, pd.DatetimeTZDtype) else np.datetime_data(dtype)[0])


def zone_of(dtype: StampDtype) -> tzinfo | None:
    """Time zone of a date-time type, None if naive."""
    return dtype.tz if isinstance(dtype, pd.DatetimeTZDtype) else None


def ticks_per_day(dtype: StampDtype) -> int:
    """Length of a day in the resolution of a date-time type."""
    return NS_PER_DAY // NS_PER_UNIT[unit_of(dtype)]


def integers(stamps: pd.Index) -> IntArray:
    """Stamps (N,) as int64: integer stamps themselves, date-times since the epoch in UTC."""
    return stamps.asi8 if isinstance(stamps, pd.DatetimeIndex) else stamps.to_numpy(dtype=np.int64)


def wall_clock(stamps: pd.Index, offsets: IntArray) -> IntArray:
    """Wall-clock time (N,) since the epoch, with times that a change of clocks moved forward put back.

    Where midnight is skipped, a daily series has one row at 01:00; it counts as midnight, alone as well.
    """
    index = pd.DatetimeIndex(stamps)
    if index.tz is None:
        return index.asi8
    wall = index.tz_localize(None).asi8.copy()
    time_of_day = wall % ticks_per_day(index.dtype)
    lengths = np.diff(offsets)
    usual = np.repeat(np.where(lengths > 1, np.minimum.reduceat(time_of_day, offsets[:-1]), 0), lengths)
    later = np.flatnonzero(time_of_day != usual)
    if 0 < len(later) <= max(len(wall) / 2, len(lengths)):  # with more, several times of day are the rule
        intended = wall[later] - time_of_day[later] + usual[later]
        moved = _from_wall_clock(intended, index.dtype).asi8 == index.asi8[later]
        wall[later[moved]] = intended[moved]
    return wall


def _from_wall_clock(wall: IntArray, dtype: StampDtype) -> pd.DatetimeIndex:
    naive = _from_ticks(wall, dtype)
    if zone_of(dtype) is None:
        return naive
    first_of_two = np.ones(len(naive), dtype=bool)
    return naive.tz_localize(zone_of(dtype), ambiguous=first_of_two, nonexistent="shift_forward")


def _from_days(days: IntArray, time_of_day: IntArray, dtype: StampDtype) -> pd.DatetimeIndex:
    day = ticks_per_day(dtype)
    limit = np.iinfo(np.int64).max // day - 1
    _check_range(days, -limit, limit)
    return _from_wall_clock(days * day + time_of_day, dtype)


def _from_ticks(ticks: IntArray, dtype: StampDtype) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(ticks.view(f"M8[{unit_of(dtype)}]"))


def _midnight(day: int) -> np.datetime64:
    return np.datetime64(day * _SECONDS_PER_DAY, "s")


def _check_range(values: IntArray, lowest: int, highest: int) -> None:
    if values.size and (int(values.min()) < lowest or int(values.max()) > highest):
        raise _out_of_range()


def _out_of_range() -> FrequencyError:
    return FrequencyError(
        "the timestamps leave the range of their type",
        code="frequency.out_of_range",
        hint="use a shorter prediction length, or a wider type such as datetime64[s] or int64",
    )
