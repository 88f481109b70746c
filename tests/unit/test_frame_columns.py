"""The columns of a frame: ids, stamps and targets of every type and library, accepted and given back, or refused."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from tests.unit.frame_examples import HOURS, forecast, make_frame, refusal, two_items
from tsar.frame import normalize_frame

DATES = [date(2024, 1, day) for day in (1, 2, 3)]
BERLIN = ZoneInfo("Europe/Berlin")


# ----------------------------------------------------------------------------------------------------------------- ids


@pytest.mark.parametrize(
    "ids",
    [
        pd.Series(["x", "y"]),
        pd.Series(["x", "y"], dtype="string"),
        pd.Series([7, 3]),
        pd.Series([2**63 + 1, 2**62 + 1], dtype="uint64"),
        pd.Series([7, 3], dtype="Int16"),
        pd.Series(["x", "y"], dtype=pd.CategoricalDtype(["z", "y", "x"], ordered=True)),
        pd.Series(pd.to_datetime(["2024-01-02", "2024-01-01"])),
        pd.Series([True, False]),
        pd.Series([0.5, 0.25]),
        pd.Series([("x", 1), ("y", 2)]),
        pd.Series([1, "y"], dtype=object),
    ],
    ids=lambda ids: str(ids.dtype),
)
def test_ids_of_any_type_come_back(ids):
    frame = pd.concat([make_frame(ids=[one] * 6) for one in ids], ignore_index=True)
    frame["item_id"] = ids.repeat(6).reset_index(drop=True)
    panel = normalize_frame(frame)
    assert panel.item_ids.tolist() == ids.tolist()
    result = forecast(panel)["item_id"]
    pd.testing.assert_series_equal(result, ids.repeat(2).reset_index(drop=True), check_names=False)


# ------------------------------------------------------------------------------------------------------------ stamps


@pytest.mark.parametrize(
    ("stamps", "dtype"),
    [
        (HOURS.as_unit("s"), "datetime64[s]"),
        (HOURS.tz_localize("Asia/Tokyo"), "datetime64[ns, Asia/Tokyo]"),
        ([datetime(2024, 3, day, tzinfo=BERLIN) for day in (30, 31)] + [datetime(2024, 4, 1, tzinfo=BERLIN)], None),
        (DATES, "datetime64[ns]"),
        (["2024-01-01", "2024-01-02", "2024-01-03"], "datetime64[ns]"),
        (["2024-01-01T00:00Z", "2024-01-01T01:00+00:00", "2024-01-01 02:00Z"], "datetime64[ns, UTC]"),
        (["2024-01-01T00:00+05:30", "2024-01-01T01:00+0530", "2024-01-01T02:00+05:30"], "datetime64[ns, UTC+05:30]"),
        (pd.array(["2024-01-01", "2024-02-01", "2024-03-01"], dtype="string"), "datetime64[ns]"),
        (pd.Categorical(["2024-01-01", "2024-01-02", "2024-01-03"]), "datetime64[ns]"),
        (np.array([1, 2, 3], dtype="int16"), "int16"),
        (pd.array([1, 2, 3], dtype="UInt8"), "UInt8"),
        (pd.Series([1, 2, 3], dtype=object), "int64"),
        (pd.Series(HOURS).astype(pd.ArrowDtype(pa.timestamp("us"))), "timestamp[us][pyarrow]"),
        (pd.Series(DATES, dtype="date32[pyarrow]"), "date32[day][pyarrow]"),
        (pd.Series([1, 2, 3], dtype="int32[pyarrow]"), "int32[pyarrow]"),
    ],
)  # fmt: skip
def test_stamps_of_any_type_come_back(stamps, dtype):
    result = forecast(normalize_frame(make_frame(stamps)))["timestamp"]
    if dtype is None:
        assert str(result.iloc[0]) == "2024-04-02 00:00:00+02:00"
    else:
        assert str(result.dtype) == dtype
        whole = pd.concat([pd.Series(stamps).astype(result.dtype) if "[ns" not in dtype else result.iloc[:0], result])
        assert whole.is_monotonic_increasing


def test_stamps_go_on_where_they_ended():
    result = forecast(normalize_frame(make_frame(HOURS.tz_localize("America/New_York"))))
    assert [str(stamp) for stamp in result["timestamp"]] == ["2024-01-01 06:00:00-05:00", "2024-01-01 07:00:00-05:00"]


@pytest.mark.parametrize(
    ("stamps", "row"),
    [
        (["2024-01-01", "01/02/2024", "2024-01-03"], 1),
        (["2024-01-01", "soon", "2024-01-03"], 1),
        ([1.0, 2.0, 3.0], 0),
        ([True, False, True], 0),
        (pd.period_range("2024-01", periods=3, freq="M"), 0),
        (pd.Series([datetime(2024, 1, 1), "2024-01-02", 3], dtype=object), 1),
        (pd.Series([datetime(2024, 1, 1), datetime(3000, 1, 1), datetime(2024, 1, 2)], dtype=object), 1),
        (np.array([1, 2, 2**63], dtype="uint64"), 2),
        (pd.Series([1, 2, 2**70], dtype=object), 2),
        (pd.to_timedelta([1, 2, 3], unit="h"), 0),
    ],
)
def test_stamps_that_cannot_be_read(stamps, row):
    error = refusal(make_frame(stamps))
    assert error.code == "frame.bad_timestamp"
    assert f"row {row}" in str(error)
    assert error.item_ids == ("a",)


def test_periods_are_told_how_to_become_stamps():
    assert "to_timestamp" in refusal(make_frame(pd.period_range("2024-01", periods=3, freq="M"))).hint


@pytest.mark.parametrize(
    ("stamps", "is_told"),
    [
        (["2024-01-01", "9999-12-31", "2024-01-03"], True),
        (pd.Series([datetime(2024, 1, 1), datetime(3000, 1, 1), datetime(2024, 1, 2)], dtype=object), True),
        (["2024-01-01", "soon", "2024-01-03"], False),
        (np.array([1, 2, 2**63], dtype="uint64"), False),
    ],
)
def test_stamps_of_years_that_nanoseconds_cannot_count_are_told_apart(stamps, is_told):
    assert ("ends in 2262" in refusal(make_frame(stamps)).hint) == is_told


@pytest.mark.parametrize(
    "stamps",
    [
        ["2024-03-30T00:00+01:00", "2024-03-31T00:00+01:00", "2024-04-01T00:00+02:00"],
        ["2024-03-30T00:00", "2024-03-31T00:00", "2024-04-01T00:00Z"],
        [datetime(2024, 1, day, tzinfo=BERLIN if day < 3 else UTC) for day in (1, 2, 3)],
        pd.Series([datetime(2024, 1, day, tzinfo=None if day < 3 else UTC) for day in (1, 2, 3)], dtype=object),
    ],
)
def test_mixed_time_zones(stamps):
    error = refusal(make_frame(stamps))
    assert error.code == "frame.mixed_time_zones"
    assert "row 2" in str(error)
    assert error.item_ids == ("a",)


@pytest.mark.parametrize("nothing", [None, pd.NaT])
def test_null_stamp(nothing):
    error = refusal(make_frame([HOURS[0], nothing, HOURS[2]]))
    assert (error.code, error.item_ids) == ("frame.null_timestamp", ("a",))
    assert "row 1" in str(error)


@pytest.mark.parametrize("nothing", [None, np.nan])
def test_null_id(nothing):
    error = refusal(make_frame(HOURS[:3], ids=["a", "a", nothing]))
    assert (error.code, error.item_ids) == ("frame.null_id", ())
    assert "row 2, timestamp 2024-01-01 02:00:00" in str(error)


def test_ids_that_cannot_be_compared():
    assert refusal(make_frame(HOURS[:2], ids=[[1], [2]])).code == "frame.bad_id"


def test_duplicates_name_the_first():
    frame = make_frame(HOURS[[0, 1, 1, 2, 3, 3]])
    error = refusal(pd.concat([make_frame(ids="z"), frame], ignore_index=True))
    assert (error.code, error.item_ids) == ("frame.duplicate_timestamp", ("a",))
    assert "2024-01-01 01:00:00 (row 8)" in str(error)


def test_one_stamp_in_two_items_is_no_duplicate():
    frame = pd.concat([make_frame(HOURS[:3], ids="a"), make_frame(HOURS[2:], ids="b")])
    assert normalize_frame(frame).num_items == 2


# ------------------------------------------------------------------------------------------------------------ target


@pytest.mark.parametrize(
    ("target", "values"),
    [
        ([True, False, True], [1, 0, 1]),
        (np.array([1, 2, 3], dtype="int8"), [1, 2, 3]),
        (np.array([1.5, 2, 3], dtype="float16"), [1.5, 2, 3]),
        (pd.array([1, None, 3], dtype="Int64"), [1, None, 3]),
        (pd.array([1.5, None, 3], dtype="Float32"), [1.5, None, 3]),
        (pd.array([True, None, False], dtype="boolean"), [1, None, 0]),
        (pd.Series([1.5, None, 3], dtype="double[pyarrow]"), [1.5, None, 3]),
        (pd.Series([1, None, 3], dtype="int64[pyarrow]"), [1, None, 3]),
        (pd.Series([True, None, False], dtype="bool[pyarrow]"), [1, None, 0]),
        (pd.Series([Decimal("0.5"), None, Decimal(3)], dtype=pd.ArrowDtype(pa.decimal128(9, 2))), [0.5, None, 3]),
        ([Decimal("0.1"), None, Decimal(3)], [0.1, None, 3]),
        (pd.Series([1, None, 3], dtype=object), [1, None, 3]),
        (pd.Series([1, 2.5, np.nan], dtype=object), [1, 2.5, None]),
        (pd.Series([True, None, False], dtype=object), [1, None, 0]),
        (pd.arrays.SparseArray([0.0, 0.0, 3.0]), [0, 0, 3]),
    ],
)
def test_targets_that_are_numbers(target, values):
    panel = normalize_frame(make_frame(HOURS[:3], target))
    np.testing.assert_array_equal(panel.values, np.array(values, dtype=np.float64))
    assert panel.report.missing_values == values.count(None)


@pytest.mark.parametrize(
    ("target", "row"),
    [
        (["1", "2", "3"], 0),
        (pd.array(["1", "2", None], dtype="string"), 0),
        (pd.Series([1.5, "x", None], dtype=object), 1),
        (pd.Series([None, 2, "x"], dtype=object), 2),
        (pd.Series([0, 2**53 + 1, 1], dtype=object), 1),
        (pd.Series([0, 1, 10**400], dtype=object), 2),
        (pd.Categorical([1, 2, 3]), 0),
        (HOURS[:3], 0),
        (pd.to_timedelta([1, 2, 3], unit="h"), 0),
        (np.array([1j, 2, 3]), 0),
    ],
)
def test_targets_that_are_not(target, row):
    error = refusal(make_frame(HOURS[:3], target))
    assert (error.code, error.item_ids) == ("frame.non_numeric_target", ("a",))
    assert f"row {row}, timestamp {HOURS[row]}" in str(error)


@pytest.mark.parametrize("infinite", [np.inf, -np.inf, Decimal("inf")])
def test_infinite_target(infinite):
    error = refusal(make_frame(HOURS[:3], [type(infinite)(1), type(infinite)(2), infinite]))
    assert (error.code, error.item_ids) == ("frame.infinite_target", ("a",))
    assert "row 2, timestamp 2024-01-01 02:00:00" in str(error)


def test_huge_values_are_kept():
    target = [1e30, -1e300, 5e-324]
    assert normalize_frame(make_frame(HOURS[:3], target)).values.tolist() == target


def test_missing_targets_are_counted_and_kept():
    panel = normalize_frame(make_frame(HOURS, [np.nan, 1, np.nan, 3, 4, np.nan]))
    assert panel.report.missing_values == 3
    np.testing.assert_array_equal(panel.values, [np.nan, 1, np.nan, 3, 4, np.nan])


# ---------------------------------------------------------------------------------------------- not a frame, columns


@pytest.mark.parametrize("thing", [{}, [1, 2], None, np.zeros(3), pd.Series([1.0]), "data.csv"])
def test_what_is_not_a_frame(thing):
    error = refusal(thing)
    assert error.code == "frame.not_a_frame"
    assert type(thing).__name__ in str(error)


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame, lambda frame: pl.DataFrame(frame).lazy(), pa.table])
def test_empty_frame(kind):
    empty = {"item_id": [], "timestamp": [], "target": []}
    assert refusal(kind(empty)).code == "frame.empty"


def test_missing_columns_list_those_that_are_there():
    error = refusal(make_frame().rename(columns={"target": "y"}))
    assert error.code == "frame.missing_column"
    assert "no column 'target'; its columns are 'item_id', 'timestamp', 'y'" in str(error)


STAMPS = pd.date_range("2020-01-01", periods=24, freq="MS")
SERIES = pd.Series(np.arange(24.0), index=STAMPS)
WIDE = pd.DataFrame({"north": SERIES, "south": SERIES + 1})


@pytest.mark.parametrize(
    ("thing", "names"),
    [
        (SERIES, {"series": SERIES}),
        (SERIES.to_period("M"), {"series": SERIES.to_period("M")}),
        (SERIES.to_frame("target"), None),
        (SERIES.to_frame("target").to_period("M"), None),
        (WIDE, None),
        (WIDE.rename_axis("month").to_period("M"), None),
        (WIDE.stack().swaplevel().rename("target").to_frame(), None),
    ],
)
def test_the_hint_for_an_index_is_code_that_works(thing, names):
    """Run the line of the hint on what was refused: normalise what comes out."""
    hint = re.search(
        r"Hint: (?:.*?: |.*made long by )?((?:df|series)[^;,]*\(.*?\))(?:;|, with|\. \[)", str(refusal(thing))
    )
    made = eval(hint[1], {}, names or {"df": thing})  # the hint is ours
    panel = normalize_frame(made, id_column="item_id" if "item_id" in made else None)
    assert panel.num_items == (2 if isinstance(thing, pd.DataFrame) and panel.item_ids[0] in ("north", "south") else 1)
    np.testing.assert_allclose(panel.values[:24], SERIES)


def test_names_of_other_packages_are_recognised():
    frame = make_frame().set_axis(["unique_id", "ds", "y"], axis=1)
    assert "name them: id_column='unique_id', timestamp_column='ds', target='y'" in str(refusal(frame))
    assert "id_column=None if the table is one series" in str(refusal(make_frame().drop(columns="item_id")))


@pytest.mark.parametrize(
    ("stamps", "first"),
    [
        (["2024Q1", "2024Q2", "2024Q3"], "2024-01-01"),
        (["2024-W05", "2024-W06", "2024-W07"], "2024-01-29"),
        (["31.01.2024", "01.02.2024", "02.02.2024"], "2024-01-31"),
        (["31/01/2024", "01/02/2024", "02/02/2024"], "2024-01-31"),
        ([2001.0, 2002.0, 2003.0], 2001),
    ],
)
def test_the_hint_for_a_stamp_is_code_that_works(stamps, first):
    frame = pd.DataFrame({"item_id": "a", "timestamp": stamps, "target": [1.0, 2.0, 3.0]})
    error = refusal(frame)
    assert error.code == "frame.bad_timestamp"
    code = re.search(r"(pandas\.\w*\(df\[.*\)|df\[.*\))\. \[", str(error))[1]
    read = eval(code, {"pandas": pd, "df": frame})  # the hint is ours
    assert normalize_frame(frame.assign(timestamp=read)).num_items == 1
    assert read[0] == (first if isinstance(first, int) else pd.Timestamp(first))


def test_duplicate_columns():
    assert refusal(pd.concat([make_frame(), make_frame()], axis=1)).code == "frame.duplicate_column"


@pytest.mark.parametrize(
    "options", [{"gaps": "drop"}, {"target": "item_id"}, {"timestamp_column": "target"}, {"id_column": "target"}]
)
def test_bad_options(options):
    assert refusal(make_frame(), **options).code == "option.invalid"


# ------------------------------------------------------------------------------------------------------- other kinds


def as_polars(frame):
    return pl.from_pandas(frame)


def as_lazy(frame):
    return pl.from_pandas(frame).lazy()


def as_arrow(frame):
    return pa.Table.from_pandas(frame, preserve_index=False)


@pytest.mark.parametrize("convert", [as_polars, as_lazy, as_arrow])
@pytest.mark.parametrize("tz", [None, "Europe/Berlin"])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_same_numbers_and_kind_for_every_library(convert, tz, unit):
    frame = two_items()
    frame["timestamp"] = frame["timestamp"].dt.tz_localize(tz).dt.as_unit(unit)
    frame.loc[3, "target"] = np.nan
    given = convert(frame)
    panel, expected = normalize_frame(given), normalize_frame(frame)
    np.testing.assert_array_equal(panel.values, expected.values)
    assert panel.freq == expected.freq
    result = forecast(panel)
    if isinstance(result, pa.Table):
        assert convert is as_arrow
        assert result.schema.types[:2] == given.schema.types[:2]
    else:
        assert isinstance(result, pl.DataFrame)
        assert result.schema["timestamp"] == given.lazy().collect_schema()["timestamp"]
    pd.testing.assert_frame_equal(result.to_pandas(), forecast(expected), check_dtype=False)


@pytest.mark.parametrize(
    "ids",
    [
        pl.Series(["x", "y"]),
        pl.Series(["x", "y"], dtype=pl.Categorical),
        pl.Series(["x", "y"], dtype=pl.Enum(["z", "y", "x"])),
        pl.Series([2**63 + 1, 1], dtype=pl.UInt64),
        pl.Series([date(2024, 1, 2), date(2024, 1, 1)]),
    ],
    ids=lambda ids: str(ids.dtype),
)
def test_polars_ids_come_back(ids):
    frame = pl.DataFrame(
        {"item_id": ids.gather([0] * 3 + [1] * 3), "timestamp": [1, 2, 3, 1, 2, 3], "target": [1.0] * 6}
    )
    result = forecast(normalize_frame(frame))
    assert result["item_id"].dtype == ids.dtype
    assert result["item_id"].to_list() == ids.gather([0, 0, 1, 1]).to_list()
    assert result["timestamp"].to_list() == [4, 5, 4, 5]


def test_arrow_ids_and_stamps_come_back():
    ids = pa.array(["x"] * 3 + ["y"] * 3).dictionary_encode()
    months = pa.array([date(2024, month, 1) for month in (1, 2, 3)] * 2)
    target = pa.chunked_array([[True, None], [False, True, None, True]])
    frame = pa.table({"item_id": ids, "timestamp": months, "target": target})
    result = forecast(normalize_frame(frame))
    assert result.schema.types[:2] == [ids.type, pa.date32()]
    assert result["item_id"].to_pylist() == ["x", "x", "y", "y"]
    assert result["timestamp"].to_pylist() == [date(2024, 4, 1), date(2024, 5, 1)] * 2


@pytest.mark.parametrize("dtype", [pl.Int8, pl.UInt64, pl.Float32, pl.Boolean, pl.Decimal(10, 2), pl.Int128])
def test_polars_targets(dtype):
    target = pl.Series([1, None, 0]).cast(dtype)
    panel = normalize_frame(pl.DataFrame({"item_id": ["a"] * 3, "timestamp": [1, 2, 3], "target": target}))
    np.testing.assert_array_equal(panel.values, [1, np.nan, 0])


@pytest.mark.parametrize(
    ("column", "values", "code"),
    [
        ("item_id", ["a", None, "a"], "frame.null_id"),
        ("item_id", [[1], [1], [1]], "frame.bad_id"),
        ("timestamp", [1, None, 3], "frame.null_timestamp"),
        ("timestamp", [1.0, 2.0, 3.0], "frame.bad_timestamp"),
        ("timestamp", [1, 2, 2], "frame.duplicate_timestamp"),
        ("target", ["1", "2", "3"], "frame.non_numeric_target"),
        ("target", [1.0, float("inf"), 2.0], "frame.infinite_target"),
    ],
)
@pytest.mark.parametrize("kind", [pl.DataFrame, pa.table])
def test_refusals_are_the_same_for_every_library(kind, column, values, code):
    columns = {"item_id": [7, 7, 7], "timestamp": [1, 2, 3], "target": [1.0, 2.0, 3.0], column: values}
    error = refusal(kind(columns))
    assert error.code == code
    assert all(type(item_id) is int for item_id in error.item_ids), "ids in messages are plain"
