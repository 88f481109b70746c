"""Constraints: what a forecast may never be - below or above a bound, a fraction, or anything at all when closed.

All of them are one non-decreasing map of a value, for each item and step: round, clip, close. Quantiles and samples go
through the same map, so both obey, quantiles stay in order, and those of mapped samples are the mapped quantiles.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tsar.errors import OptionError
from tsar.frame import Panel
from tsar.frame.columns import read_columns, read_ids, read_stamps, read_table
from tsar.freq.grid import integers
from tsar.types import BoolArray, FloatArray

TIMES_SEEN = 4
"""How often an hour or weekday must have been zero, and never anything else, to be learned as closed."""

HOURS_A_WEEK = 168


@dataclass(frozen=True, kw_only=True)
class Constraints:
    """What forecasts must obey.

    Nothing is checked here: `Forecaster` does so when it is used.

    Parameters
    ----------
    lower, upper
        Bounds: a number for all items, a mapping of item ids to numbers (items not in it have none), or the name of a
        column of the frame, whose last known value for each item counts. None: no bound.
    integer
        Whole numbers: True for all items, ``"auto"`` for those whose history has nothing else.
    closed_hours
        Hours of the day, 0 to 23, in which the value is known to be zero.
    closed_weekdays
        Weekdays, 0 (Monday) to 6, on which it is.
    closed
        ``"auto"``: also the hours of the week (weekdays, for daily and coarser data) in which an item's history was
        never anything but zero, at least four times (`TIMES_SEEN`).

    Examples
    --------
    >>> from tsar import Constraints, Forecaster
    >>> forecaster = Forecaster(constraints=Constraints(lower=0, upper="capacity", integer="auto"))
    """

    lower: float | str | Mapping[Any, float] | None = None
    upper: float | str | Mapping[Any, float] | None = None
    integer: bool | str = False
    closed_hours: tuple[int, ...] = ()
    closed_weekdays: tuple[int, ...] = ()
    closed: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the bounds that are columns."""
        return tuple(dict.fromkeys(bound for bound in (self.lower, self.upper) if isinstance(bound, str)))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them.

        Returns
        -------
        dict
            Field names and values; mappings become lists of pairs, so that ids keep their type.
        """
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {
            name: [list(pair) for pair in value.items()] if isinstance(value, Mapping) else value
            for name, value in plain.items()
        }


def normalize_constraints(constraints: Any) -> Constraints | None:
    """Return checked constraints from a `Constraints`, a mapping of its fields, or None.

    Raises
    ------
    OptionError
        ``option.invalid`` for another type or name, bounds that are not numbers, hours or weekdays out of range.
    """
    if constraints is None:
        return None
    if isinstance(constraints, Constraints):
        given = {field.name: getattr(constraints, field.name) for field in dataclasses.fields(Constraints)}
    elif isinstance(constraints, Mapping):
        given = dict(constraints)
    else:
        raise _invalid(f"must be Constraints(...) or a mapping of its fields, got {constraints!r}")
    known = [field.name for field in dataclasses.fields(Constraints)]
    unknown = [name for name in given if name not in known]
    if unknown:
        raise _invalid(f"know no {unknown[0]!r}; their fields are {', '.join(known)}")
    for name in ("lower", "upper"):
        given[name] = _validated_bound(name, given.get(name))
    for name, count in (("closed_hours", 24), ("closed_weekdays", 7)):
        given[name] = _validated_places(name, given.get(name, ()), count)
    for name, allowed in (("integer", (True, False, "auto")), ("closed", (None, "auto"))):
        value = given.get(name, allowed[-2] if name == "integer" else None)
        if not any(value is choice or (isinstance(choice, str) and value == choice) for choice in allowed):
            raise _invalid(f"want {name} to be one of {', '.join(map(repr, allowed))}, got {value!r}")
        given[name] = value
    return Constraints(**given)


@dataclass(frozen=True, eq=False)
class Bounds:
    """Constraints of the items and steps of one forecast.

    Attributes
    ----------
    lower, upper : (I,)
        Infinite where there is none.
    is_integer : (I,)
    is_closed : (I, F)
    """

    lower: FloatArray
    upper: FloatArray
    is_integer: BoolArray
    is_closed: BoolArray

    def apply(self, values: FloatArray) -> FloatArray:
        """Map values (I, F, K), each row of K in its order; NaN stays NaN."""
        whole = self.is_integer[:, None, None]
        lower = np.where(self.is_integer, np.ceil(self.lower), self.lower)[:, None, None]
        upper = np.where(self.is_integer, np.floor(self.upper), self.upper)[:, None, None]
        rounded = np.where(whole, np.rint(values), values)
        clipped = np.minimum(np.maximum(rounded, lower), upper)
        return np.where(self.is_closed[..., None] & ~np.isnan(values), 0.0, clipped)


def resolve_bounds(
    constraints: Constraints,
    panel: Panel,
    prediction_length: int,
    columns: Mapping[str, FloatArray] | None = None,
    *,
    gap: int = 0,
) -> Bounds:
    """Find what the constraints mean for each item of a panel and each step ahead.

    Parameters
    ----------
    constraints
        From `normalize_constraints`.
    panel
        The history, I items.
    prediction_length
        F.
    columns
        Values (I,) of the bounds that are columns, from `read_bound_columns`; None: no bound is one.
    gap
        Steps between the history and the first of them.

    Raises
    ------
    OptionError
        ``option.invalid`` for closed hours where stamps are integers, a lower bound above the upper one, or no whole
        number between them.
    """
    lower = _bound_of(constraints.lower, panel, columns, -np.inf)
    upper = _bound_of(constraints.upper, panel, columns, np.inf)
    is_integer = _whole(panel) if constraints.integer == "auto" else np.full(panel.num_items, bool(constraints.integer))
    empty = np.where(is_integer, np.ceil(lower) > np.floor(upper), lower > upper)
    if empty.any():
        item = int(np.argmax(empty))
        what = "whole number" if is_integer[item] else "value"
        raise OptionError(
            f"no {what} is from lower={lower[item]:g} to upper={upper[item]:g}",
            code="option.invalid",
            item_ids=[panel.item_ids[item]],
            hint="correct the constraints",
        )
    return Bounds(lower, upper, is_integer, _closed(constraints, panel, prediction_length, gap))


def read_bound_columns(
    constraints: Constraints | None, df: Any, *, id_column: str | None, timestamp_column: str
) -> dict[str, FloatArray]:
    """Read the bounds that are columns: the last known value (I,) of each item, NaN where there is none.

    Raises
    ------
    FrameError
        ``frame.missing_column``; and those of `normalize_frame` for ids and stamps.
    OptionError
        ``option.invalid`` for a column that holds no numbers.
    """
    names = () if constraints is None else constraints.columns
    if not names:
        return {}
    table = read_table(df, id_column, timestamp_column, *names)
    result = {}
    for name in names:
        columns = read_columns(table, id_column, timestamp_column, name)
        codes, item_ids = read_ids(columns)
        values = _numbers(columns.target, name)
        order = np.argsort(integers(read_stamps(columns)), kind="stable")
        known = order[np.isfinite(values[order])]
        last = np.full(len(item_ids), np.nan)
        last[codes[known]] = values[known]  # of repeated places the last one stays
        result[name] = last
    return result


def _numbers(column: Any, name: str) -> FloatArray:
    refusal = _invalid(f"want the column {name!r} to hold numbers, it is {column.dtype}")
    if column.dtype.kind in "mM":  # stamps would be read as their nanoseconds
        raise refusal
    try:
        numbers: FloatArray = column.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise refusal from error
    return numbers


def _bound_of(
    bound: float | str | Mapping[Any, float] | None,
    panel: Panel,
    columns: Mapping[str, FloatArray] | None,
    none: float,
) -> FloatArray:
    if bound is None:
        return np.full(panel.num_items, none)
    if isinstance(bound, str):
        values = (columns or {})[bound]
        return np.where(np.isfinite(values), values, none)
    if isinstance(bound, Mapping):
        return np.array([float(bound.get(item_id, none)) for item_id in panel.item_ids])
    return np.full(panel.num_items, float(bound))


def _whole(panel: Panel) -> BoolArray:
    """(I,) whether everything observed of an item is a whole number; False where nothing was."""
    observed = ~np.isnan(panel.values)
    fraction = observed & (panel.values != np.rint(panel.values))
    some = np.logical_or.reduceat(observed, panel.offsets[:-1])
    result: BoolArray = some & ~np.logical_or.reduceat(fraction, panel.offsets[:-1])
    return result


def _closed(constraints: Constraints, panel: Panel, prediction_length: int, gap: int) -> BoolArray:
    """(I, F) whether the stamp of a step is known to be closed."""
    shape = (panel.num_items, prediction_length)
    if not (constraints.closed_hours or constraints.closed_weekdays or constraints.closed):
        return np.zeros(shape, dtype=bool)
    future: Any = panel.future_timestamps(prediction_length, gap)
    if not hasattr(future, "hour"):
        raise _invalid("cannot close hours or weekdays where the timestamps are integers")
    is_closed = np.isin(future.hour, constraints.closed_hours) | np.isin(future.dayofweek, constraints.closed_weekdays)
    if constraints.closed == "auto":
        past: Any = panel.timestamps()
        item = np.repeat(np.arange(panel.num_items), panel.lengths)
        place = item * HOURS_A_WEEK + past.dayofweek * 24 + past.hour
        seen = ~np.isnan(panel.values)
        size = panel.num_items * HOURS_A_WEEK
        times = np.bincount(place[seen], minlength=size)
        open_times = np.bincount(place[seen & (panel.values != 0)], minlength=size)
        learned = (times >= TIMES_SEEN) & (open_times == 0)
        ahead = np.repeat(np.arange(panel.num_items), prediction_length) * HOURS_A_WEEK
        is_closed = is_closed | learned[ahead + future.dayofweek * 24 + future.hour]
    return np.asarray(is_closed, dtype=bool).reshape(shape)


def _validated_bound(name: str, bound: Any) -> float | str | Mapping[Any, float] | None:
    if bound is None or isinstance(bound, str):
        return bound
    try:
        if isinstance(bound, Mapping):
            return {item_id: _number(value) for item_id, value in bound.items()}
        if isinstance(bound, Sequence):
            return {item_id: _number(value) for item_id, value in bound}
        return _number(bound)
    except (TypeError, ValueError) as error:
        text = f"want {name} to be a number, a mapping of items to numbers, or a column, got {bound!r}"
        raise _invalid(text) from error


def _number(value: Any) -> float:
    number = float(value)
    if np.isnan(number) or isinstance(value, (bool, str)):
        raise ValueError(value)
    return number


def _validated_places(name: str, places: Any, count: int) -> tuple[int, ...]:
    try:
        numbers = tuple(int(place) for place in places)
    except (TypeError, ValueError) as error:
        raise _invalid(f"want {name} to be whole numbers, got {places!r}") from error
    if any(not 0 <= number < count for number in numbers):
        raise _invalid(f"want {name} from 0 to {count - 1}, got {places!r}")
    return numbers


def _invalid(what: str) -> OptionError:
    return OptionError(f"constraints {what}.", code="option.invalid")
