"""Frequency aliases: read every spelling, write the one of pandas 2.2 and later, know the season."""

from __future__ import annotations

import re
from datetime import timedelta

import pandas as pd
from pandas.tseries.frequencies import to_offset
from pandas.tseries.offsets import BaseOffset, BusinessHour, Day, Nano, Tick

from tsar.errors import FrequencyError

NS_PER_UNIT = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
NS_PER_DAY = 86_400 * 10**9
_NS_PER_ALIAS = {"h": 3600 * 10**9, "min": 60 * 10**9, **NS_PER_UNIT}

# Spellings that pandas deprecated in 2.2 (and removed later), and lower-case ones it never documented.
_RENAMED = {
    "H": "h", "T": "min", "S": "s", "L": "ms", "U": "us", "N": "ns", "l": "ms", "u": "us", "n": "ns", "t": "min",
    "d": "D", "b": "B", "w": "W", "M": "ME", "Q": "QE", "A": "YE", "Y": "YE", "q": "QE", "a": "YE", "y": "YE",
    "AS": "YS", "BM": "BME", "BQ": "BQE", "BA": "BYE", "BY": "BYE", "BAS": "BYS", "SM": "SME",
    "C": "B", "CBM": "BME", "CBME": "BME", "CBMS": "BMS", "BH": "bh", "CBH": "cbh",
}  # fmt: skip
WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_TOKEN = re.compile(r"([+-]?\d*(?:\.\d+)?)\s*([A-Za-z]+)((?:-[A-Za-z0-9]+)*)\s*", re.ASCII)

_EXAMPLES = "for example 'h', '15min', 'D', 'B', 'W-SUN', 'MS', 'QE' or 'YE'"

_SEASONS = {
    "W": 52, "D": 7, "B": 5, "SMS": 24, "SME": 24, "WOM": 12,
    "MS": 12, "ME": 12, "BMS": 12, "BME": 12, "QS": 4, "QE": 4, "BQS": 4, "BQE": 4,
    "YS": 1, "YE": 1, "BYS": 1, "BYE": 1,
}  # fmt: skip
_KNOWN = {*_NS_PER_ALIAS, *_SEASONS, "bh", "cbh"}


def canonical_freq(freq: str | BaseOffset | timedelta) -> str:
    """Spell a frequency as pandas 2.2 and later do.

    Parameters
    ----------
    freq : str, pandas offset or timedelta
        Any alias that a version of pandas accepts or accepted (``"H"``, ``"15T"``, ``"M"``, ``"AS-APR"``, ``"1D12h"``).

    Returns
    -------
    str
        For example ``"h"``, ``"15min"``, ``"ME"``, ``"YS-APR"``, ``"36h"``. Fixed steps use the largest unit up to
        hours that divides them (``"60min"`` is ``"h"``); ``"24h"`` does not become ``"D"``, since it is kept by UTC
        and days by the wall clock.

    Raises
    ------
    FrequencyError
        ``frequency.unknown_alias`` for anything pandas cannot read, multiples below one, and a bare ``"m"`` (minutes
        or months?); ``frequency.unsupported`` for business hours.
    """
    offset = _read_offset(freq)
    if isinstance(offset, BusinessHour):
        raise FrequencyError(f"the frequency {freq!r} is not supported", code="frequency.unsupported", hint="use 'h'")
    if offset.n < 1:
        raise _unknown_alias(freq, "a frequency goes forward in time, by one or more periods")
    if isinstance(offset, Tick) and not isinstance(offset, Day):
        return fixed_alias(offset.nanos)
    return str(offset.freqstr)


def season_length(freq: str | None) -> int:
    """Return the number of periods in the main season of a frequency.

    A day for steps of a minute to a day, a week for days, a year for weeks and longer, the next larger unit below a
    minute. A multiple gets its share where it divides the season, else 1: ``"15min"`` 96, ``"2h"`` 12, ``"5h"`` 1.

    Parameters
    ----------
    freq : str or None
        Any alias that `canonical_freq` reads; None (integer stamps) has no season.

    Returns
    -------
    int
        1 where there is no season.
    """
    if freq is None:
        return 1
    offset = _read_offset(canonical_freq(freq))
    if isinstance(offset, Tick):
        return _fixed_season(offset.nanos)
    season = _SEASONS.get(offset.rule_code.split("-")[0], 1)
    return _share(season, offset.n)


def _read_offset(freq: object) -> BaseOffset:
    if isinstance(freq, BaseOffset):
        freq = freq.freqstr
    elif isinstance(freq, timedelta):
        return Nano(pd.Timedelta(freq).value)
    if not isinstance(freq, str):
        raise _unknown_alias(freq, _EXAMPLES)
    spelled = _respell(freq)
    try:
        return to_offset(spelled)
    except (ValueError, OverflowError) as error:
        raise _unknown_alias(freq, _EXAMPLES) from error


def _respell(freq: str) -> str:
    """Replace old names, and let no unknown ones through: on some of them pandas warns and guesses."""
    tokens, position, text = [], 0, freq.strip()
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            raise _unknown_alias(freq, _EXAMPLES)
        number, name, anchor = token.groups()
        name = _RENAMED.get(name, name)
        if name == "m":
            raise _unknown_alias(freq, "'m' could be minutes or months: write 'min', 'MS' (starts) or 'ME' (ends)")
        if name not in _KNOWN:
            raise _unknown_alias(freq, _EXAMPLES)
        tokens.append(f"{number}{name}{anchor.upper()}")
        position = token.end()
    return "".join(tokens)


def _unknown_alias(freq: object, hint: str) -> FrequencyError:
    return FrequencyError(f"{freq!r} is not a frequency", code="frequency.unknown_alias", hint=hint)


def fixed_alias(nanos: int) -> str:
    """Name a fixed step by the largest unit up to an hour that divides it."""
    name, size = next((name, size) for name, size in _NS_PER_ALIAS.items() if nanos % size == 0)
    return multiple(nanos // size, name)


def multiple(count: int, name: str) -> str:
    """Write ``count`` periods of ``name``, the way pandas does."""
    return name if count == 1 else f"{count}{name}"


def _share(season: int, count: int) -> int:
    return season // count if season % count == 0 else 1


def _fixed_season(nanos: int) -> int:
    second, minute, week = _NS_PER_ALIAS["s"], _NS_PER_ALIAS["min"], 7 * NS_PER_DAY
    if nanos % week == 0:
        return _share(_SEASONS["W"], nanos // week)
    for period, season in ((NS_PER_DAY, week), (minute, NS_PER_DAY), (second, minute)):
        if nanos % period == 0:
            return _share(season, nanos)
    unit = next(size for size in NS_PER_UNIT.values() if nanos % size == 0)
    return _share(1000, nanos // unit)
