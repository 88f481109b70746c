"""Read the three columns of a user's frame: ids, stamps and target, each checked row by row, none of them changed."""

from __future__ import annotations

import operator
import reprlib
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd
import pyarrow as pa

from tsar.errors import FrameError
from tsar.frame.remedies import hint_for_stamp, hint_without_a_frame, missing_columns
from tsar.types import FloatArray, IntArray, ObjectArray

ONE_SERIES = "series_0"  # id of the only item of a frame without ids
_KINDS = ("pandas", "polars", "pyarrow")
_NUMBERS = ("integer", "floating", "mixed-integer-float", "decimal", "boolean", "empty")  # as pandas infers objects


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a frame looked like, so that the answer can look the same.

    Attributes
    ----------
    kind : {"pandas", "polars", "pyarrow"}
        The library of the frame.
    ids : series of that library or None
        (I,) the ids in their own type; None if the frame had none.
    stamp_dtype : dtype of that library or None
        Type of the stamps; None where they were text or Python objects.
    """

    kind: str
    ids: Any
    stamp_dtype: Any


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns of a frame as they came, N rows.

    Attributes
    ----------
    ids : pandas.Series or None
        Ids; None if the frame has none.
    stamps, target : pandas.Series
        Stamps and target.
    names : tuple of str
        Their names: id, timestamp, target.
    stamps_are_dates : bool
        Whether the stamps are days without a time of day (polars, arrow).
    """

    ids: pd.Series | None
    stamps: pd.Series
    target: pd.Series
    names: tuple[str | None, str, str]
    stamps_are_dates: bool

    def item_of(self, row: int) -> Any:
        """Id of the item of a row."""
        return ONE_SERIES if self.ids is None else _plain(self.ids.iloc[row])

    def error(self, message: str, code: str, row: int, hint: str) -> FrameError:
        """Make the error for one row, naming its item and stamp; ``{row}`` in the message is where it goes."""
        stamp = self.stamps.iloc[row]
        where = f"row {row}" if pd.isna(stamp) else f"row {row}, timestamp {stamp}"
        item_id = self.item_of(row)
        named = [] if pd.api.types.is_scalar(item_id) and pd.isna(item_id) else [item_id]
        return FrameError(message.format(row=where), code=code, item_ids=named, hint=hint)


# ----------------------------------------------------------------------------------------------------------- tables


def read_table(df: Any, id_column: str | None, timestamp_column: str, *others: str) -> nw.DataFrame[Any]:
    """Return just the columns that are needed, of a frame of any supported library.

    Raises
    ------
    FrameError
        ``frame.not_a_frame``, ``frame.duplicate_column``, ``frame.missing_column``, ``frame.empty``.
    """
    frame = open_frame(df)
    wanted = list(dict.fromkeys(name for name in (id_column, timestamp_column, *others) if name is not None))
    present = frame.collect_schema().names()
    missing = [name for name in wanted if name not in present]
    if missing:
        raise missing_columns(df, present, missing)
    table = collect(frame.select(wanted))
    if not len(table):
        raise FrameError("the frame has no rows", code="frame.empty", hint="pass at least one row per item")
    return table


def open_frame(df: Any) -> nw.DataFrame[Any] | nw.LazyFrame[Any]:
    """Return a frame of any supported library as one of narwhals.

    Raises
    ------
    FrameError
        ``frame.not_a_frame``, ``frame.duplicate_column``.
    """
    try:
        frame: nw.DataFrame[Any] | nw.LazyFrame[Any] = nw.from_native(df)
    except TypeError as error:
        raise _not_a_frame(df) from error
    except nw.exceptions.DuplicateError as error:
        raise FrameError(
            "a column name occurs more than once in the frame",
            code="frame.duplicate_column",
            hint="rename or drop columns so that each name occurs once",
        ) from error
    if frame.implementation.value not in _KINDS:
        raise _not_a_frame(df)
    return frame


def collect(frame: nw.DataFrame[Any] | nw.LazyFrame[Any]) -> nw.DataFrame[Any]:
    """Return the rows of a lazy frame; any other as it is."""
    return frame.collect() if isinstance(frame, nw.LazyFrame) else frame


def _not_a_frame(df: object) -> FrameError:
    return FrameError(
        f"expected a pandas, polars or pyarrow frame, got {type(df).__module__}.{type(df).__qualname__}",
        code="frame.not_a_frame",
        hint=hint_without_a_frame(df),
    )


def read_columns(table: nw.DataFrame[Any], id_column: str | None, timestamp_column: str, target: str) -> Columns:
    """Take the columns out of a table, as pandas series with their values unchanged."""
    stamps, values = table[timestamp_column], numbers_as_floats(table[target])
    if table.implementation.is_pyarrow():
        stamps = _without_dictionary(stamps)
    if stamps.dtype == nw.Date:
        stamps = stamps.cast(nw.Datetime("ms"))
    return Columns(
        ids=None if id_column is None else _ids_to_pandas(table[id_column]),
        stamps=to_pandas(stamps),
        target=to_pandas(values),
        names=(id_column, timestamp_column, target),
        stamps_are_dates=table[timestamp_column].dtype == nw.Date,
    )


def numbers_as_floats(column: nw.Series[Any]) -> nw.Series[Any]:
    """Numbers of polars and arrow as float64, where pandas would make objects of some types; all else as it is."""
    if column.implementation.is_pandas() or not column.dtype.is_numeric():
        return column
    if column.implementation.is_pyarrow():  # unsafe: wide integers are rounded, as pandas and polars do
        return nw.from_native(column.to_native().cast(pa.float64(), safe=False), series_only=True)
    return column.cast(nw.Float64)


def _without_dictionary(column: nw.Series[Any]) -> nw.Series[Any]:
    """Decode an arrow dictionary, which would lose the time zone of its values on the way to pandas."""
    native: Any = column.to_native()
    if not pa.types.is_dictionary(native.type):
        return column
    return nw.from_native(native.cast(native.type.value_type), series_only=True)


def make_source(table: nw.DataFrame[Any], id_column: str | None, timestamp_column: str, first_rows: IntArray) -> Source:
    """Remember the kind of frame, the ids in their own type (those at `first_rows`), and the type of the stamps."""
    stamps = table[timestamp_column]
    native = stamps.to_native()
    keeps_type = isinstance(stamps.dtype, nw.Datetime | nw.Date) or stamps.dtype.is_integer()
    return Source(
        kind=table.implementation.value,
        ids=None if id_column is None else table[id_column][first_rows].to_native(),
        stamp_dtype=getattr(native, "dtype", getattr(native, "type", None)) if keeps_type else None,
    )


def item_ids_of(ids: nw.Series[Any]) -> ObjectArray:
    """Ids (I,) as Python objects."""
    return _ids_to_pandas(ids).astype(object).to_numpy()


def _ids_to_pandas(ids: nw.Series[Any]) -> pd.Series:
    try:
        return to_pandas(ids)
    except (TypeError, ValueError, NotImplementedError) as error:
        raise _bad_id(ids.dtype) from error


def to_pandas(column: nw.Series[Any]) -> pd.Series:
    """Values as numpy holds them; by way of a frame, since an arrow column alone loses its time zone."""
    in_pandas: pd.Series = column.to_frame().to_pandas().iloc[:, 0]
    if isinstance(in_pandas.dtype, pd.ArrowDtype):
        return to_pandas(nw.from_native(pa.table([pa.array(in_pandas.array)], names=["column"]))["column"])
    return in_pandas


# -------------------------------------------------------------------------------------------------------------- ids


def read_ids(columns: Columns) -> tuple[IntArray, ObjectArray]:
    """Number the items in order of first appearance.

    Returns
    -------
    codes : (N,) int64
        Number of the item of each row.
    item_ids : (I,) object
        The ids.

    Raises
    ------
    FrameError
        ``frame.null_id``; ``frame.bad_id`` for ids that cannot be compared, such as lists.
    """
    if columns.ids is None:
        return np.zeros(len(columns.stamps), dtype=np.int64), np.array([ONE_SERIES], dtype=object)
    try:
        codes, uniques = pd.factorize(columns.ids)
    except TypeError as error:
        raise _bad_id(columns.ids.dtype) from error
    if columns.ids.dtype == object or isinstance(columns.ids.dtype, pd.StringDtype):
        codes, uniques = _exact_codes(columns.ids.astype(object).to_numpy(), codes, uniques)
    null = codes < 0
    if null.any():
        raise columns.error(
            f"the id column {columns.names[0]!r} is empty in {{row}}",
            "frame.null_id",
            int(np.argmax(null)),
            "drop these rows or fill in their id",
        )
    return codes.astype(np.int64, copy=False), np.asarray(uniques.astype(object), dtype=object)


def _exact_codes(ids: ObjectArray, codes: IntArray, uniques: pd.Index) -> tuple[IntArray, pd.Index]:
    """Number the ids again where pandas took two for one: it reads text up to the first NUL character."""
    known = codes >= 0
    found = np.asarray(uniques.astype(object), dtype=object)[codes[known]]
    if all(map(operator.eq, found, ids[known])):
        return codes, uniques
    numbers: dict[Any, int] = {}
    exact = np.full(len(ids), -1, dtype=np.int64)
    exact[known] = [numbers.setdefault(item_id, len(numbers)) for item_id in ids[known]]
    return exact, pd.Index(list(numbers), dtype=object)


def _bad_id(dtype: object) -> FrameError:
    return FrameError(
        f"the id column holds values of type {dtype}, which cannot name a series",
        code="frame.bad_id",
        hint="use text or integer ids",
    )


# ----------------------------------------------------------------------------------------------------------- stamps


def read_stamps(columns: Columns) -> pd.Index:
    """Read the stamps as a `pandas.DatetimeIndex` or an integer `pandas.Index`, (N,).

    Text is read if it is ISO 8601.

    Raises
    ------
    FrameError
        ``frame.null_timestamp``, ``frame.bad_timestamp``, ``frame.mixed_time_zones``.
    """
    stamps = columns.stamps
    if isinstance(stamps.dtype, pd.CategoricalDtype):
        stamps = stamps.astype(stamps.cat.categories.dtype)
    null = stamps.isna().to_numpy()
    if null.any():
        raise columns.error(
            f"the timestamp column {columns.names[1]!r} is empty in {{row}}",
            "frame.null_timestamp",
            int(np.argmax(null)),
            "drop these rows or fill in their timestamp",
        )
    if pd.api.types.is_datetime64_any_dtype(stamps.dtype):
        return pd.DatetimeIndex(stamps)
    if pd.api.types.is_integer_dtype(stamps.dtype):
        return _read_integers(columns, stamps)
    if isinstance(stamps.dtype, pd.StringDtype) or stamps.dtype == object:
        return _read_objects(columns, stamps.astype(object))
    raise _bad_stamp(columns, 0)


def refuse_other_stamps(stamps: pd.Index, known: pd.Index, frame: str) -> None:
    """Raise ``frame.bad_timestamp`` if one of both, but not the other, holds integers or has a time zone."""
    kinds = [(isinstance(one, pd.DatetimeIndex), getattr(one, "tz", None) is None) for one in (stamps, known)]
    if kinds[0] != kinds[1]:
        raise FrameError(
            f"the timestamps of {frame} are {stamps.dtype}, those of the history {known.dtype}",
            code="frame.bad_timestamp",
            hint="use the same type and time zone in both frames",
        )


def _read_integers(columns: Columns, stamps: pd.Series) -> pd.Index:
    integers = stamps.to_numpy(dtype=str(stamps.dtype).lower())  # pandas spells nullable types with a capital
    too_wide = integers > np.iinfo(np.int64).max
    if too_wide.any():
        raise _bad_stamp(columns, int(np.argmax(too_wide)))
    index: pd.Index = pd.Index(integers)
    return index


def _read_objects(columns: Columns, stamps: pd.Series) -> pd.Index:
    content = pd.api.types.infer_dtype(stamps, skipna=False)
    if content == "string":
        return _read_text(columns, stamps)
    if content == "integer":
        try:
            return _read_integers(columns, stamps.astype(np.int64))
        except OverflowError as error:
            raise _bad_stamp(columns, int(np.argmax(np.abs(stamps.to_numpy())))) from error
    if content not in ("datetime", "datetime64", "date"):
        kinds = stamps.map(type)
        raise _bad_stamp(columns, int(np.argmax((kinds != kinds.iloc[0]).to_numpy())))
    try:
        return pd.DatetimeIndex(stamps)
    except pd.errors.OutOfBoundsDatetime as error:
        raise _bad_stamp(columns, int(np.argmax(pd.to_datetime(stamps, errors="coerce", utc=True).isna()))) from error
    except (ValueError, TypeError) as error:
        zones = stamps.map(lambda stamp: str(stamp.tzinfo))
        raise _mixed_zones(columns, zones.to_numpy()) from error


def _read_text(columns: Columns, stamps: pd.Series) -> pd.Index:
    codes, texts = pd.factorize(stamps)  # a panel repeats its stamps, and reading text is slow
    distinct = pd.Series(texts)
    parsed = pd.to_datetime(distinct, format="ISO8601", errors="coerce", utc=True)
    if parsed.isna().any():
        raise _bad_stamp(columns, int(np.argmax(parsed.isna().to_numpy()[codes])))
    zones = distinct.str.extract(r"\d[T ].*(Z|[+-]\d{2}(?::?\d{2})?)$", expand=False).fillna("none")
    zones = zones.replace("Z", "+00").str.replace(":", "").str.replace(r"^(...)$", r"\g<1>00", regex=True)
    if zones.nunique() > 1:
        raise _mixed_zones(columns, zones.to_numpy()[codes])
    return pd.DatetimeIndex(pd.to_datetime(distinct, format="ISO8601")).take(codes)


def _bad_stamp(columns: Columns, row: int) -> FrameError:
    value = columns.stamps.iloc[row]
    if isinstance(columns.stamps.dtype, pd.PeriodDtype):
        hint = "convert the periods with .dt.to_timestamp()"
    elif _is_beyond_nanoseconds(value):
        hint = "text and Python objects are read to the nanosecond, which ends in 2262: use numpy's datetime64[s] there"
    else:
        hint = hint_for_stamp(value, columns.names[1])
    return FrameError(
        f"the timestamp {_show(value)} in row {row} is not usable",
        code="frame.bad_timestamp",
        item_ids=[columns.item_of(row)],
        hint=hint,
    )


def _is_beyond_nanoseconds(value: object) -> bool:
    """Whether something is a date-time, but of a year that nanoseconds cannot count."""
    if isinstance(value, int | np.integer):
        return False
    try:
        return not 1678 <= pd.Timestamp(value).year <= 2261  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return False


def _show(value: object) -> str:
    return reprlib.repr(_plain(value)).replace("{", "{{").replace("}", "}}")


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _mixed_zones(columns: Columns, zones: ObjectArray) -> FrameError:
    row = int(np.argmax(zones != zones[0]))
    name = columns.names[1]
    return columns.error(
        f"the timestamps are in different time zones: {zones[0]} in row 0, {zones[row]} in {{row}}",
        "frame.mixed_time_zones",
        row,
        f"bring them into one zone: pandas.to_datetime(df[{name!r}], utc=True).dt.tz_convert('Europe/Paris')",
    )


# ----------------------------------------------------------------------------------------------------------- target


def read_target(columns: Columns) -> FloatArray:
    """Read the target as float64 (N,), NaN where missing.

    Booleans, integers, decimals and Python numbers count; text does not, not even text that looks like a number.

    Raises
    ------
    FrameError
        ``frame.non_numeric_target``, ``frame.infinite_target``.
    """
    target = columns.target
    if target.dtype == object:
        values = _read_numbers(columns, target.to_numpy())
    elif pd.api.types.is_numeric_dtype(target.dtype) and not pd.api.types.is_complex_dtype(target.dtype):
        values = target.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        raise _non_numeric(columns, int(np.argmax(target.notna().to_numpy())))
    infinite = np.isinf(values)
    if infinite.any():
        row = int(np.argmax(infinite))
        raise columns.error(
            f"the target {columns.names[2]!r} is {values[row]} in {{row}}",
            "frame.infinite_target",
            row,
            "replace infinite values by missing ones (NaN) or by what was meant",
        )
    return values


def _read_numbers(columns: Columns, target: ObjectArray) -> FloatArray:
    """Read Python objects that are numbers of one sort; integers only if float64 holds them exactly."""
    present = ~pd.isna(target)
    numbers = target[present]
    content = pd.api.types.infer_dtype(numbers, skipna=False)
    if content not in _NUMBERS:
        odd = [not isinstance(number, Real | Decimal) or type(number) is not type(numbers[0]) for number in numbers]
        if content == "string":  # a file whose numbers are text because of one cell: that one
            unread = pd.to_numeric(pd.Series(numbers), errors="coerce").isna().tolist()
            odd = unread if any(unread) else odd
        raise _non_numeric(columns, int(np.flatnonzero(present)[np.argmax(odd)]))
    values = np.full(len(target), np.nan)
    try:
        values[present] = numbers.astype(np.float64)
    except OverflowError as error:
        raise _non_numeric(columns, int(np.flatnonzero(present)[np.argmax(np.abs(numbers))])) from error
    changed = values[present] != numbers
    if content != "decimal" and changed.any():
        raise _non_numeric(columns, int(np.flatnonzero(present)[np.argmax(changed)]))
    return values


def _non_numeric(columns: Columns, row: int) -> FrameError:
    value = _show(columns.target.iloc[row])
    return columns.error(
        f"{{row}}: the target {columns.names[2]!r} must be a number that fits float64, not {value}",
        "frame.non_numeric_target",
        row,
        "convert the column to numbers, for example with pandas.to_numeric",
    )
