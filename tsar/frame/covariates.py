"""Covariates of a frame: columns beside the target, read into numbers and put on the panel's grid.

Text and categories become one indicator column per category. Missing values stay NaN, and so do rows that were inserted
to close a gap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np
import pandas as pd

from tsar.errors import CovariateError
from tsar.frame.columns import (
    Columns,
    numbers_as_floats,
    read_columns,
    read_ids,
    read_stamps,
    read_table,
    refuse_other_stamps,
    to_pandas,
)
from tsar.freq.alias import NS_PER_DAY
from tsar.freq.grid import dtype_of, integers, ticks_per_day
from tsar.types import FloatArray, IntArray, ObjectArray

if TYPE_CHECKING:
    from tsar.frame.panel import Panel

CALENDAR = "calendar:"
"""What names of covariates begin with that come from the timestamps."""

MAX_CATEGORIES = 50
"""Categories that a column may have; more would be an id rather than a category."""


@dataclass(frozen=True, kw_only=True)
class CovariateColumns:
    """Names of the columns that go along with the target.

    Attributes
    ----------
    past
        Known up to the cutoff only.
    future
        Known ahead, as in `future_df`.
    static
        One value per item.
    """

    past: tuple[str, ...] = ()
    future: tuple[str, ...] = ()
    static: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return self.past + self.future + self.static

    def __bool__(self) -> bool:
        return bool(self.names)


@dataclass(frozen=True, kw_only=True, eq=False)
class Covariates:
    """Covariates as numbers, C encoded columns.

    Attributes
    ----------
    names : tuple of str
        (C,) the column, or ``column=category`` for an indicator.
    num_past : int
        The first columns are past covariates, the others are known ahead.
    values : (C, N) float64
        In step with the values of the panel; NaN where missing.
    static_names : tuple of str
        (S,) names of the static columns, indicators likewise.
    static : (S, I) float64
        One value per item.
    categories : mapping
        The categories of each column that has some, in order.
    """

    names: tuple[str, ...]
    num_past: int
    values: FloatArray
    static_names: tuple[str, ...] = ()
    static: FloatArray = field(default_factory=lambda: np.empty((0, 0)))
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """(C,) the column that each encoded one came from; a part of the calendar is one."""
        parts = {f"{column}={category}": column for column, known in self.categories.items() for category in known}
        return tuple(parts.get(name, name.split("=")[0] if name.startswith(CALENDAR) else name) for name in self.names)

    @property
    def num_ahead(self) -> int:
        """How many of the encoded columns are known ahead."""
        return len(self.names) - self.num_past


def read_covariates(
    table: nw.DataFrame[Any],
    wanted: CovariateColumns,
    *,
    item_ids: ObjectArray,
    rows: IntArray | None,
    items: IntArray,
    slots: IntArray,
    size: int,
) -> Covariates:
    """Read the covariates of a frame.

    Parameters
    ----------
    table
        The frame, R rows.
    wanted
        Which columns.
    item_ids
        (I,) the items.
    rows
        (R,) the row of the frame that comes at each sorted place; None: they are sorted already.
    items, slots
        (R,) item and place on the panel of each sorted row.
    size
        N, places on the panel.

    Raises
    ------
    CovariateError
        ``covariate.bad_column``, ``covariate.too_many_categories``, ``covariate.not_static``.
    """
    names: list[str] = []
    columns: list[FloatArray] = []
    categories: dict[str, tuple[str, ...]] = {}
    num_past = 0
    for name in wanted.past + wanted.future:
        encoded, encoded_names = _encode(_read_column(table, name), name, categories)
        for column in encoded:
            on_grid = np.full(size, np.nan)
            on_grid[slots] = column if rows is None else column[rows]
            columns.append(on_grid)
        names += encoded_names
        num_past += len(encoded_names) if name in wanted.past else 0
    static_names: list[str] = []
    static: list[FloatArray] = []
    for name in wanted.static:
        whole = _read_column(table, name)
        whole = whole if rows is None else whole.iloc[rows]
        encoded, encoded_names = _encode(_one_per_item(whole, items, item_ids, name), name, categories)
        static += encoded
        static_names += encoded_names
    return Covariates(
        names=tuple(names),
        num_past=num_past,
        values=np.stack(columns) if columns else np.empty((0, size)),
        static_names=tuple(static_names),
        static=np.stack(static) if static else np.empty((0, len(item_ids))),
        categories=categories,
    )


def read_future(
    future_df: Any,
    panel: Panel,
    wanted: CovariateColumns,
    prediction_length: int,
    *,
    id_column: str | None,
    timestamp_column: str,
    known_columns: Sequence[str],
) -> FloatArray:
    """Read the covariates that are known ahead, (C, I, F), in the order of the panel's, which come after its past ones.

    Parameters
    ----------
    future_df
        Frame with the id and timestamp columns and the future covariates; rows in any order. Items and stamps that are
        not forecast are ignored. NaN says that a value is not known after all.
    panel
        What is forecast; its covariates know the categories.
    wanted
        Which columns.
    prediction_length
        F; every item needs a row for each of the stamps that follow it.
    id_column, timestamp_column
        Names of the columns.
    known_columns
        Columns that may be there besides, such as the target.

    Raises
    ------
    CovariateError
        ``covariate.missing_future`` without a frame, ``covariate.short_future`` if rows are missing,
        ``covariate.unknown_category``, ``covariate.unexpected_column``, ``covariate.bad_column``.
    FrameError
        As `normalize_frame`, for ids and stamps.
    """
    if future_df is None:
        raise CovariateError(
            f"the future covariates {', '.join(map(repr, wanted.future))} are not given",
            code="covariate.missing_future",
            hint="pass future_df= with a row for every item and future timestamp",
        )
    table = read_table(future_df, id_column, timestamp_column, *wanted.future)
    _refuse_unexpected(future_df, [id_column, timestamp_column, *wanted.future, *known_columns])
    columns = read_columns(table, id_column, timestamp_column, wanted.future[0])
    found = _find_rows(columns, panel, prediction_length)
    known = {} if panel.covariates is None else dict(panel.covariates.categories)
    encoded: list[FloatArray] = []
    for name in wanted.future:
        encoded += _encode(_read_column(table, name).iloc[found], name, known, is_known=True)[0]
    return np.stack(encoded).reshape(len(encoded), panel.num_items, prediction_length)


def _refuse_unexpected(df: Any, expected: Sequence[str | None]) -> None:
    extra = [name for name in nw.from_native(df).collect_schema().names() if name not in expected]
    if extra:
        raise CovariateError(
            f"future_df has a column {extra[0]!r} that is no future covariate",
            code="covariate.unexpected_column",
            hint=f"name it in future_covariates=, or drop it; known are {', '.join(repr(n) for n in expected if n)}",
        )


def _find_rows(columns: Columns, panel: Panel, prediction_length: int) -> IntArray:
    """Row of the future frame (I * F,) for every stamp that is forecast."""
    codes, ids = read_ids(columns)
    stamps = read_stamps(columns)
    expected = panel.future_timestamps(prediction_length)
    refuse_other_stamps(stamps, expected, "future_df")
    series, known_ids = pd.factorize(panel.item_ids)  # an item with several targets has as many series
    items = pd.Index(known_ids).get_indexer(pd.Index(ids))[codes]
    given = pd.MultiIndex.from_arrays([items, *_instants(stamps)])
    repeated = given.duplicated() & (items >= 0)
    if repeated.any():
        row = int(np.argmax(repeated))
        raise columns.error(
            "future_df repeats the timestamp in {row}", "frame.duplicate_timestamp", row, "keep one row per timestamp"
        )
    wanted = np.repeat(series, prediction_length)
    keep = np.flatnonzero(items >= 0)
    found = given[keep].get_indexer(pd.MultiIndex.from_arrays([wanted, *_instants(expected)]))
    missing = found < 0
    if missing.any():
        place = int(np.argmax(missing))
        affected = np.unique(wanted[missing])
        raise CovariateError(
            f"future_df lacks {missing.sum()} of {len(missing)} rows, first timestamp {expected[place]}",
            code="covariate.short_future",
            item_ids=np.asarray(known_ids, dtype=object)[affected].tolist(),
            hint=f"give a row for each of the {prediction_length} timestamps that follow every item",
        )
    rows: IntArray = keep[found]
    return rows


def _instants(stamps: pd.Index) -> list[IntArray]:
    """Stamps as numbers that are comparable whatever their resolution: days and nanoseconds, or integers themselves."""
    ticks = integers(stamps)
    if not isinstance(stamps, pd.DatetimeIndex):
        return [ticks]
    per_day = ticks_per_day(dtype_of(stamps))
    return [ticks // per_day, ticks % per_day * (NS_PER_DAY // per_day)]


def _read_column(table: nw.DataFrame[Any], name: str) -> pd.Series:
    return to_pandas(numbers_as_floats(table[name]))


def _one_per_item(column: pd.Series, items: IntArray, item_ids: ObjectArray, name: str) -> pd.Series:
    groups = column.reset_index(drop=True).groupby(items, observed=True)
    varying = np.flatnonzero(groups.nunique().to_numpy() > 1)
    if len(varying):
        raise CovariateError(
            f"the static covariate {name!r} has several values within an item",
            code="covariate.not_static",
            item_ids=item_ids[varying].tolist(),
            hint="name it in past_covariates= or future_covariates= if it changes in time",
        )
    return groups.first().reindex(np.arange(len(item_ids)))


def _encode(
    column: pd.Series, name: str, categories: dict[str, tuple[str, ...]], *, is_known: bool = False
) -> tuple[list[FloatArray], list[str]]:
    """Numbers as they are; anything else as one indicator per category. `categories` is filled unless `is_known`."""
    is_number = pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_complex_dtype(column.dtype)
    if is_number and name not in categories:
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        if np.isinf(values).any():
            raise _bad_column(name, "holds infinite values", "replace them by missing ones (NaN)")
        return [values], [name]
    if is_known and name not in categories:
        raise _bad_column(name, f"is {column.dtype} here, but holds numbers in the history", "use one type in both")
    missing = column.isna().to_numpy()
    try:
        text = np.where(missing, "", column.astype(object).map(str).to_numpy())
        present = sorted(set(text[~missing]))
    except TypeError as error:
        raise _bad_column(name, "cannot be read", "use numbers or text") from error
    if not is_known:
        if len(present) > MAX_CATEGORIES:
            raise CovariateError(
                f"the covariate {name!r} has {len(present)} categories, more than {MAX_CATEGORIES}",
                code="covariate.too_many_categories",
                hint="group the rare ones, or convert the column to numbers if that is what it holds",
            )
        categories[name] = tuple(present)
    unknown = [category for category in present if category not in categories[name]]
    if unknown:
        raise CovariateError(
            f"the covariate {name!r} has the category {unknown[0]!r}, which the history does not have",
            code="covariate.unknown_category",
            hint=f"known are {', '.join(map(repr, categories[name]))}; leave the cell empty if none of them fits",
        )
    encoded = [np.where(missing, np.nan, (text == category).astype(np.float64)) for category in categories[name]]
    return encoded, [f"{name}={category}" for category in categories[name]]


def _bad_column(name: str, what: str, hint: str) -> CovariateError:
    return CovariateError(f"the covariate {name!r} {what}", code="covariate.bad_column", hint=hint)
