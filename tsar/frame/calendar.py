"""Covariates that follow from the stamps alone: what a model without a calendar cannot know ahead."""

from __future__ import annotations

import dataclasses
import re
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsar.errors import MissingDependencyError, OptionError
from tsar.frame.covariates import CALENDAR, Covariates
from tsar.frame.panel import Panel
from tsar.freq.alias import MONTHS
from tsar.types import FloatArray

_PERIODS = re.compile(r"(\d*)B?([MQY])([SE])(?:-([A-Z]{3}))?")
"""Frequencies of a month and more: how many, of which letter, stamped at the start or the end, and the anchor."""

_MONTHS = {"M": 1, "Q": 3, "Y": 12}


def add_calendar(panel: Panel, *, calendar: bool, holidays: str | None) -> Panel:
    """Return the panel with calendar covariates, known ahead, after those that it has."""
    names, columns = calendar_columns(panel.timestamps(), panel.freq, calendar=calendar, holidays=holidays)
    size, have = len(panel.values), panel.covariates
    before = have or Covariates(names=(), num_past=0, values=np.empty((0, size)), static=np.empty((0, panel.num_items)))
    covariates = dataclasses.replace(
        before, names=before.names + names, values=np.concatenate([before.values, columns])
    )
    return dataclasses.replace(panel, covariates=covariates)


def calendar_columns(
    stamps: pd.Index, freq: str | None, *, calendar: bool, holidays: str | None
) -> tuple[tuple[str, ...], FloatArray]:
    """Names (C,) and values (C, N) of calendar covariates.

    Parameters
    ----------
    stamps
        (N,) the starts of the periods.
    freq
        Their frequency. Up to a day: day of the week, place in the month, turn of the month and season. Months,
        quarters and years: days and working days in them.
    calendar
        Whether these are wanted.
    holidays
        Country code for the library ``holidays`` (days before and after are marked too), or None.

    Raises
    ------
    OptionError
        ``option.invalid`` for integer stamps, and for a country that the library does not know.
    MissingDependencyError
        ``dependency.missing`` if the library is not installed.
    """
    if not isinstance(stamps, pd.DatetimeIndex):
        raise OptionError(
            "calendar covariates need date-times, and these timestamps are integers",
            code="option.invalid",
            hint="pass date-times, or calendar=False and holidays=None",
        )
    distinct, place = np.unique(stamps.tz_localize(None) if stamps.tz is not None else stamps, return_inverse=True)
    found = _PERIODS.fullmatch("" if freq is None else freq)
    columns = (
        _columns_of_days(distinct, calendar, holidays)
        if found is None
        else _columns_of_periods(*_bounds_of_periods(distinct, *found.groups()), calendar, holidays)
    )
    values = np.stack([np.asarray(column, dtype=np.float64)[place] for column in columns.values()])
    return tuple(CALENDAR + name for name in columns), values


def _bounds_of_periods(
    stamps: Any, count: str, letter: str, end: str, anchor: str | None
) -> tuple[npt.NDArray[np.datetime64], npt.NDArray[np.datetime64]]:
    """First day of the months, quarters or years that stamps (N,) stand at the start or the end of, and of the next."""
    months = stamps.astype("M8[M]").astype(np.int64)
    width, size = _MONTHS[letter], _MONTHS[letter] * int(count or 1)
    if end == "S":
        first = months - (months - MONTHS.index(anchor or "JAN")) % width
    else:
        first = months - (months - MONTHS.index(anchor or "DEC") - 1) % width + width - size
    return first.astype("M8[M]").astype("M8[D]"), (first + size).astype("M8[M]").astype("M8[D]")


def _columns_of_periods(start: Any, end: Any, calendar: bool, holidays: str | None) -> dict[str, Any]:
    """What there is in periods from a day up to another."""
    columns: dict[str, Any] = {}
    if calendar:
        columns = {"days": (end - start).astype(float), "working_days": np.busday_count(start, end).astype(float)}
    if holidays is not None:
        known = _holidays(start.min(), end.max(), holidays)
        columns["holidays"] = np.searchsorted(known, end) - np.searchsorted(known, start)
    return columns


def _columns_of_days(stamps: Any, calendar: bool, holidays: str | None) -> dict[str, Any]:
    """Where stamps stand in week, month and year, and near holidays."""
    columns: dict[str, Any] = {}
    days, day = pd.DatetimeIndex(stamps), stamps.astype("M8[D]")
    if calendar:
        angle = 2 * np.pi * days.dayofyear.to_numpy() / 365.25
        month = 2 * np.pi * (days.day.to_numpy() - 1) / days.days_in_month.to_numpy()
        columns = {f"weekday={number}": days.dayofweek == number for number in range(7)} | {
            "year_sin": np.sin(angle), "year_cos": np.cos(angle), "month_sin": np.sin(month),
            "month_cos": np.cos(month), "first_of_month": days.day == 1, "last_of_month": days.is_month_end,
        }  # fmt: skip
    if holidays is not None:
        known = _holidays(day.min(), day.max(), holidays)
        columns["holiday"] = np.isin(day, known)
        columns["before_holiday"] = np.isin(day + 1, known)
        columns["after_holiday"] = np.isin(day - 1, known)
    return columns


def _holidays(first: np.datetime64, last: np.datetime64, country: str) -> Any:
    """Days that are holidays, from the year before the first day to the one after the last."""
    if find_spec("holidays") is None:
        raise MissingDependencyError(
            "holidays are asked for, and the package holidays is not installed",
            code="dependency.missing",
            hint="pip install 'tsar-forecast[holidays]'",
        )
    import holidays

    years = range(first.astype(object).year - 1, last.astype(object).year + 2)
    try:
        known = holidays.country_holidays(country, years=years)
    except (NotImplementedError, KeyError) as error:
        raise OptionError(
            f"holidays of {country!r} are not known", code="option.invalid", hint="an ISO code such as 'DE' or 'US'"
        ) from error
    return np.array(sorted(known), dtype="M8[D]")
