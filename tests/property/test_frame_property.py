"""Frames of any shape: a coded error, or a panel on a regular grid that holds exactly the numbers that were given."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tsar.errors import CODES, TsarError, TsarWarning
from tsar.frame import Panel, make_forecast_frame, normalize_frame, panel_from_bytes, panel_to_bytes
from tsar.freq import canonical_freq

BY_UTC = ["h", "15min", "36h", "s"]
BY_WALL_CLOCK = ["D", "3D", "W-WED", "B", "MS", "ME", "QS-OCT", "YE-DEC", "BME", "SMS-15"]
ZONES = [None, "UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Beirut"]
KINDS = {
    "pandas": lambda frame: frame,
    "polars": pl.from_pandas,
    "pyarrow": lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
}
MIN_LENGTH, MAX_LENGTH, MAX_START, MAX_FUTURE = 12, 60, 20, 9

few = settings(deadline=None, max_examples=40)


@dataclass(frozen=True)
class Truth:
    """One item: its regular stamps, the value at each (NaN: missing, or no row), and the stamps that follow."""

    stamps: pd.DatetimeIndex
    values: np.ndarray
    future: pd.DatetimeIndex


@dataclass(frozen=True)
class Sample:
    frame: pd.DataFrame
    items: dict[int, Truth]
    freq: str
    complete: bool


def regular_stamps(start: pd.Timestamp, freq: str, tz: str | None) -> pd.DatetimeIndex:
    stamps = pd.date_range(start, periods=MAX_START + MAX_LENGTH + MAX_FUTURE, freq=freq)
    if tz is None:
        return stamps
    if freq in BY_UTC:
        return stamps.tz_localize("UTC").tz_convert(tz)
    return stamps.tz_localize(tz, nonexistent="shift_forward", ambiguous=np.ones(len(stamps), dtype=bool))


@st.composite
def samples(draw: st.DrawFn, freqs: list[str] = BY_UTC + BY_WALL_CLOCK) -> Sample:
    """A frame with its rows in any order, some of them missing, and the truth behind it."""
    freq, kept = draw(st.sampled_from(freqs)), draw(st.sampled_from([1.0, 0.9, 0.6]))
    start = pd.Timestamp("1990-01-01") + pd.Timedelta(days=draw(st.integers(0, 9000)))
    grid = regular_stamps(start, freq, draw(st.sampled_from(ZONES)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    items, parts = {}, []
    for item_id in rng.permutation(draw(st.integers(1, 4))).tolist():
        first, length = rng.integers(MAX_START), rng.integers(MIN_LENGTH, MAX_LENGTH)
        stamps = grid[first : first + length]
        values = np.where(rng.random(length) < 0.9, rng.normal(size=length), np.nan)
        has_row = rng.random(length) < kept
        has_row[[0, -1]] = True
        future = grid[first + length : first + length + MAX_FUTURE]
        items[item_id] = Truth(stamps, np.where(has_row, values, np.nan), future)
        parts.append(pd.DataFrame({"item_id": item_id, "timestamp": stamps, "target": values})[has_row])
    rows = pd.concat(parts)
    return Sample(rows.iloc[rng.permutation(len(rows))].reset_index(drop=True), items, freq, complete=kept == 1.0)


def normalize(df, **options) -> Panel:
    """Normalise without tsar's own warnings; any other still fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TsarWarning)
        return normalize_frame(df, **options)


def assert_same_panel(panel: Panel, other: Panel) -> None:
    assert panel.grid == other.grid
    assert panel.item_ids.tolist() == other.item_ids.tolist()
    for name in ("values", "offsets", "starts"):
        np.testing.assert_array_equal(getattr(panel, name), getattr(other, name))


@few
@given(samples(), st.sampled_from(list(KINDS)))
def test_panel_holds_the_grid_and_the_numbers(sample, kind):
    before = sample.frame.copy(deep=True)
    panel = normalize(KINDS[kind](sample.frame), freq=sample.freq)
    assert panel.item_ids.tolist() == sample.frame["item_id"].drop_duplicates().tolist()
    assert panel.freq == sample.freq
    for item, item_id in enumerate(panel.item_ids):
        truth, rows = sample.items[item_id], slice(panel.offsets[item], panel.offsets[item + 1])
        np.testing.assert_array_equal(panel.values[rows], truth.values)
        assert panel.timestamps()[rows].equals(truth.stamps)
        assert panel.series(item).start == truth.stamps[0]
    pd.testing.assert_frame_equal(sample.frame, before)


@few
@given(samples(), st.integers(1, MAX_FUTURE))
def test_future_goes_on_with_the_grid(sample, prediction_length):
    panel = normalize(sample.frame, freq=sample.freq)
    future = panel.future_timestamps(prediction_length)
    expected = [sample.items[item_id].future[:prediction_length] for item_id in panel.item_ids]
    assert future.equals(expected[0].append(expected[1:]))


@few
@given(samples([freq for freq in BY_UTC + BY_WALL_CLOCK if freq != "SMS-15"]))
def test_inferred_frequency_carries_every_row(sample):
    try:
        panel = normalize(sample.frame)
    except TsarError as error:  # so many rows are missing that no step is a single period
        assert error.code == "frequency.irregular"
        assert not sample.complete
        return
    if sample.complete:  # a few ends of months may all be weekdays
        assert panel.freq in {sample.freq, sample.freq.replace("BME", "ME")}
    found = pd.DataFrame({"timestamp": panel.timestamps(), "value": panel.values})
    found["item_id"] = np.repeat(panel.item_ids, panel.lengths).astype(np.int64)
    both = sample.frame.merge(found, on=["item_id", "timestamp"])
    assert len(both) == len(sample.frame)
    np.testing.assert_array_equal(both["target"], both["value"])
    assert panel.report.inserted_rows == len(found) - len(sample.frame)


@few
@given(samples())
def test_normalising_again_changes_nothing(sample):
    panel = normalize(sample.frame, freq=sample.freq)
    ids = np.repeat(panel.item_ids, panel.lengths)
    again = pd.DataFrame({"item_id": ids, "timestamp": panel.timestamps(), "target": panel.values})
    assert_same_panel(normalize(again, freq=sample.freq, gaps="raise"), panel)


@few
@given(samples(), st.randoms(use_true_random=False))
def test_order_names_and_id_types_do_not_matter(sample, random):
    panel = normalize(sample.frame, freq=sample.freq)
    frame = sample.frame.rename(columns={"item_id": "shop", "timestamp": "when", "target": "sold"})
    first_rows = ~frame["shop"].duplicated()
    order = random.sample(range(len(frame)), len(frame))
    shuffled = pd.concat([frame[first_rows], frame.iloc[order][~first_rows.iloc[order]]])  # keeps the order of items
    renamed = shuffled.assign(shop="shop " + shuffled["shop"].astype(str), other="ignored")
    other = normalize(renamed, id_column="shop", timestamp_column="when", target="sold", freq=sample.freq)
    assert other.item_ids.tolist() == [f"shop {item_id}" for item_id in panel.item_ids]
    np.testing.assert_array_equal(other.values, panel.values)
    np.testing.assert_array_equal(other.starts, panel.starts)


@few
@given(samples(), st.sampled_from(list(KINDS)))
def test_bytes_give_the_panel_back(sample, kind):
    panel = normalize(KINDS[kind](sample.frame), freq=sample.freq)
    assert_same_panel(panel_from_bytes(panel_to_bytes(panel)), panel)


# ------------------------------------------------------------------------------------------------------- rude frames

# For each column: anything at all, then the sorts of which most columns are made.
NUMBER_SORTS = [
    st.integers(-5, 5),
    st.floats(width=32),
    st.one_of(st.none(), st.floats(-1e30, 1e30)),
    st.booleans(),
    st.sampled_from([1, None]),
    st.decimals(-9, 9, places=1),
]
NUMBERS = [st.one_of(*NUMBER_SORTS, st.sampled_from([np.inf, 2**70, "7", "x", 1j])), *NUMBER_SORTS]
HOUR = pd.Timestamp("2024-03-30 20:00")
STAMP_SORTS = [
    st.integers(-3, 20),
    st.integers(0, 30).map(lambda hour: HOUR + pd.Timedelta(hours=hour)),
    st.integers(0, 30).map(lambda hour: HOUR.tz_localize("Europe/Berlin") + pd.Timedelta(hours=hour)),
    st.integers(1, 28).map(lambda day: pd.Timestamp(2024, 2, day)),
    st.integers(1, 12).map(lambda month: pd.Timestamp(2024, month, 1)),
    st.integers(1, 28).map(lambda day: f"2024-02-{day:02d}"),
    st.integers(0, 23).map(lambda hour: f"2024-02-01T{hour:02d}:00Z"),
]
STAMPS = [st.one_of(*STAMP_SORTS, st.sampled_from([None, pd.NaT, "soon", 2.5, True, 2**64, b"x"])), *STAMP_SORTS]
ID_SORTS = [
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from([1, 2]),
    st.just("a"),
    st.sampled_from([("t", 1), ("t", 2)]),
    st.sampled_from([True, False]),
]
IDS = [st.one_of(*ID_SORTS, st.sampled_from(["", 1.5, None, np.nan, pd.Timestamp("2024-01-01")])), *ID_SORTS]
FREQ_OPTIONS = st.one_of(
    st.none(), st.sampled_from(["h", "D", "W", "M", "MS", "B", "s", 1, 2, "m"]), st.text(max_size=9)
)


@st.composite
def rude_frames(draw: st.DrawFn) -> pd.DataFrame:
    """Columns mostly of one sort, now and then of any."""
    num_rows = draw(st.integers(0, 12))
    columns = {}
    for name, (anything, *sorts) in (("item_id", IDS), ("timestamp", STAMPS), ("target", NUMBERS)):
        values = anything if draw(st.integers(0, 9)) == 0 else draw(st.sampled_from(sorts))
        unique_by = repr if name == "timestamp" and draw(st.integers(0, 4)) else None
        column = st.lists(values, min_size=num_rows, max_size=num_rows, unique_by=unique_by)
        columns[name] = pd.Series(draw(column), dtype=object)
        if draw(st.booleans()):
            columns[name] = columns[name].infer_objects()
    return pd.DataFrame(columns)


@settings(deadline=None, max_examples=300)
@given(rude_frames(), FREQ_OPTIONS, st.sampled_from(["fill", "fill", "fill", "raise"]))
def test_a_coded_error_or_a_sound_panel(frame, freq, gaps):
    before = frame.copy(deep=True)
    try:
        panel = normalize(frame, freq=freq, gaps=gaps)
        check_panel(panel, frame)
        check_forecast(panel)
        event("forecast")
    except TsarError as error:
        event(error.code)
        assert error.code in CODES
        assert error.code.split(".")[0] in ("frame", "frequency")
    pd.testing.assert_frame_equal(frame, before)


def check_panel(panel: Panel, frame: pd.DataFrame) -> None:
    assert panel.item_ids.tolist() == frame["item_id"].drop_duplicates().tolist()
    assert (panel.lengths > 0).all()
    assert panel.offsets[-1] == len(panel.values) == len(frame) + panel.report.inserted_rows
    assert not np.isinf(panel.values).any()
    observed = np.count_nonzero(~np.isnan(panel.values))
    assert observed == frame["target"].notna().sum() == len(frame) - panel.report.missing_values
    assert panel.freq is None or panel.freq == canonical_freq(panel.freq)
    for item in range(panel.num_items):
        rows = panel.timestamps()[panel.offsets[item] : panel.offsets[item + 1]]
        assert rows.is_monotonic_increasing
        assert rows.is_unique


def check_forecast(panel: Panel) -> None:
    median = np.zeros((panel.num_items, 2))
    result = make_forecast_frame(panel, median[..., None], [0.5], median)
    assert result.columns.tolist() == ["item_id", "timestamp", "target_name", "predictions", "0.5"]
    assert result["item_id"].tolist() == np.repeat(panel.item_ids, 2).tolist()
    assert result["timestamp"].notna().all()
    assert (result["timestamp"].to_numpy()[1::2] > result["timestamp"].to_numpy()[::2]).all()
