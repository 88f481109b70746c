"""Resolutions: seven classes of frequencies by how long a step is, for models that are told it."""

from __future__ import annotations

import math
import re

RESOLUTIONS = ("unknown", "sub-hourly", "hourly", "daily", "weekly", "monthly", "quarterly", "yearly")
"""By number. Steps of several hours are hourly, and so on up to the next class."""

_EDGES = (1.0, 24.0, 168.0, 600.0, 2000.0, 8000.0)  # hours from which on a step is of the class after the next
_YEAR = 8765.82
_HOURS = {
    "ns": 1 / 3.6e12, "us": 1 / 3.6e9, "ms": 1 / 3.6e6, "s": 1 / 3600, "min": 1 / 60, "h": 1.0, "D": 24.0, "B": 168 / 5,
    "W": 168.0, "SM": _YEAR / 24, "WOM": _YEAR / 12, "M": _YEAR / 12, "Q": _YEAR / 4, "Y": _YEAR,
}  # fmt: skip


def hours_per_step(freq: str | int | None) -> float:
    """Return the mean hours between two stamps of a pandas alias; NaN for whole numbers and what is not known.

    A start or an end of a month is a month (``"MS"``, ``"BME"``), and five business days are a week.
    """
    parts = re.match(r"(\d*)([A-Za-z]+)", freq) if isinstance(freq, str) else None
    if parts is None:
        return math.nan
    count, unit = parts.groups()
    unit = re.sub(r"^B?(SM|M|Q|Y)[SE]$", r"\1", unit)
    return (int(count) if count else 1) * _HOURS.get(unit, math.nan)


def resolution(freq: str | int | None, factor: int = 1) -> int:
    """Return the number in `RESOLUTIONS` of a frequency of which `factor` steps are made one."""
    hours = hours_per_step(freq) * factor
    return 0 if math.isnan(hours) else 1 + sum(hours >= edge - 1e-9 for edge in _EDGES)
