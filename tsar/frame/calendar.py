"""Covariates that follow from the stamps alone: what a model without a calendar cannot know ahead."""

from __future__ import annotations

import dataclasses
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd

from tsar.errors import MissingDependencyError, OptionError
from tsar.frame.covariates import Covariates
from tsar.frame.panel import Panel
from tsar.types import FloatArray

CALENDAR = "calendar:"
_COARSE = {
    prefix + letter + end: letter for prefix in ("", "B") for letter in ("M", "Q", "Y") for end in ("S", "E")
}  # frequencies of a month and more, and the period that each counts


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
    days = pd.DatetimeIndex(distinct)
    period = _COARSE.get("" if freq is None else freq.split("-")[0])
    columns: dict[str, Any] = {}
    if period is not None:
        first = days.to_period(period)
        start, end = first.start_time.values.astype("M8[D]"), first.end_time.values.astype("M8[D]") + 1
        if calendar:
            columns = {"days": (end - start).astype(float), "working_days": np.busday_count(start, end).astype(float)}
        if holidays is not None:
            known = _holidays(days, holidays)
            columns["holidays"] = np.searchsorted(known, end) - np.searchsorted(known, start)
    else:
        if calendar:
            angle = 2 * np.pi * days.dayofyear.to_numpy() / 365.25
            month = 2 * np.pi * (days.day.to_numpy() - 1) / days.days_in_month.to_numpy()
            columns = {f"weekday={number}": days.dayofweek == number for number in range(7)} | {
                "year_sin": np.sin(angle), "year_cos": np.cos(angle), "month_sin": np.sin(month),
                "month_cos": np.cos(month), "first_of_month": days.day == 1, "last_of_month": days.is_month_end,
            }  # fmt: skip
        if holidays is not None:
            known, day = _holidays(days, holidays), distinct.astype("M8[D]")
            columns["holiday"] = np.isin(day, known)
            columns["before_holiday"] = np.isin(day + 1, known)
            columns["after_holiday"] = np.isin(day - 1, known)
    values = np.stack([np.asarray(column, dtype=np.float64)[place] for column in columns.values()])
    return tuple(CALENDAR + name for name in columns), values


def _holidays(days: pd.DatetimeIndex, country: str) -> Any:
    if find_spec("holidays") is None:
        raise MissingDependencyError(
            "holidays are asked for, and the package holidays is not installed",
            code="dependency.missing",
            hint="pip install 'tsar-forecast[holidays]'",
        )
    import holidays

    years = range(int(days.year.min()) - 1, int(days.year.max()) + 2)
    try:
        known = holidays.country_holidays(country, years=years)
    except (NotImplementedError, KeyError) as error:
        raise OptionError(
            f"holidays of {country!r} are not known", code="option.invalid", hint="an ISO code such as 'DE' or 'US'"
        ) from error
    return np.array(sorted(known), dtype="M8[D]")
