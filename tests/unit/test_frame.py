"""Frames in: order, gaps and frequencies. Frames out: rows, columns, order, and panels as bytes."""

from __future__ import annotations

import pickle
import time
import warnings
from datetime import date

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from tests.unit.frame_examples import HOURS, LEVELS, forecast, make_frame, refusal, two_items
from tsar.errors import FrameError, OptionError, ReleaseError, TsarWarning
from tsar.frame import make_forecast_frame, normalize_frame, panel_from_bytes, panel_to_bytes, quantile_column

# ---------------------------------------------------------------------------------------------------------- the panel


def test_panel_of_a_clean_frame():
    panel = normalize_frame(two_items())
    assert panel.item_ids.tolist() == ["b", "a"]
    assert panel.offsets.tolist() == [0, 6, 10]
    assert panel.lengths.tolist() == [6, 4]
    assert panel.values.tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3]
    assert panel.freq == "h"
    assert panel.timestamps().equals(HOURS.append(HOURS[:4]))
    assert panel.report.was_sorted
    assert panel.report.freq_inferred
    assert (panel.report.num_rows, panel.report.num_items, panel.report.inserted_rows) == (10, 2, 0)


def test_series_is_a_view():
    panel = normalize_frame(two_items())
    series = panel.series(1)
    assert (series.item_id, series.start, series.freq) == ("a", HOURS[0], "h")
    assert series.target.shape == (1, 4)
    assert np.shares_memory(series.target, panel.values)


def test_panel_cannot_be_written_to():
    frame = two_items()
    panel = normalize_frame(frame)
    with pytest.raises(ValueError, match="read-only"):
        panel.values[0] = 1.0
    assert not np.shares_memory(panel.values, frame["target"].to_numpy())


def test_future_timestamps_follow_each_item():
    future = normalize_frame(two_items()).future_timestamps(2)
    assert future.strftime("%H").tolist() == ["06", "07", "04", "05"]


@pytest.mark.parametrize("prediction_length", [0, -1])
def test_future_timestamps_need_a_future(prediction_length):
    with pytest.raises(OptionError) as caught:
        normalize_frame(two_items()).future_timestamps(prediction_length)
    assert caught.value.code == "option.prediction_length"


def test_panel_survives_pickling():
    panel = pickle.loads(pickle.dumps(normalize_frame(two_items())))
    assert panel.values.tolist() == normalize_frame(two_items()).values.tolist()
    pd.testing.assert_frame_equal(forecast(panel), forecast(normalize_frame(two_items())))


# ------------------------------------------------------------------------------------------------- order and columns


def test_rows_in_any_order():
    frame = two_items().iloc[::-1]
    panel = normalize_frame(frame)
    assert panel.item_ids.tolist() == ["a", "b"], "items come in order of first appearance"
    assert panel.values.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 4, 5]
    assert not panel.report.was_sorted


def test_times_that_descend_within_an_item_by_more_than_64_bits_hold():
    stamps = pd.DatetimeIndex(["2200-01-01", "1800-01-01", "2000-01-01"])
    assert normalize_frame(make_frame(stamps), freq="200YS").values.tolist() == [1, 2, 0]


def test_interleaved_items():
    frame = two_items().sort_values(["timestamp", "item_id"])
    assert normalize_frame(frame).item_ids.tolist() == ["a", "b"]
    assert normalize_frame(frame).values.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 4, 5]


def test_column_names_are_arguments_and_others_are_ignored():
    frame = two_items().rename(columns={"item_id": "shop", "timestamp": "when", "target": "sold"}).assign(target="text")
    names = {"id_column": "shop", "timestamp_column": "when"}
    panel = normalize_frame(frame, **names, target="sold")
    assert panel.values.tolist() == normalize_frame(two_items()).values.tolist()
    result = forecast(panel, **names, target_name="sold")
    assert result.columns.tolist() == ["shop", "when", "target_name", "predictions", "0.1", "0.5", "0.9"]
    assert set(result["target_name"]) == {"sold"}


def test_frame_without_ids_is_one_series():
    panel = normalize_frame(make_frame().drop(columns="item_id"), id_column=None)
    assert panel.item_ids.tolist() == ["series_0"]
    assert forecast(panel, id_column=None)["item_id"].tolist() == ["series_0"] * 2


def test_index_and_copies_of_the_frame_do_not_matter():
    frame = two_items().set_index(np.array([7] * 10))
    before = frame.copy(deep=True)
    panel = normalize_frame(frame.sample(frac=1, random_state=1))
    forecast(panel)
    pd.testing.assert_frame_equal(frame, before)
    result = forecast(normalize_frame(frame))
    assert result.index.tolist() == list(range(4))


# -------------------------------------------------------------------------------------------------------------- gaps


def test_gaps_are_closed_with_one_warning():
    frame = pd.concat(
        [make_frame(ids="a"), make_frame(HOURS[[0, 1, 4, 5]], ids="b"), make_frame(HOURS[[0, 2]], ids="c")]
    )
    with pytest.warns(TsarWarning) as caught:
        panel = normalize_frame(frame)
    assert len(caught) == 1
    assert "inserted: 3, in 2 of 3 items, first after timestamp 2024-01-01 01:00:00" in str(caught[0].message)
    np.testing.assert_array_equal(panel.values[6:], [0, 1, np.nan, np.nan, 2, 3, 0, np.nan, 1])
    assert panel.lengths.tolist() == [6, 6, 3]
    report = panel.report
    assert (report.inserted_rows, report.items_with_gaps, report.missing_values) == (3, 2, 0)


def test_gaps_can_be_refused():
    frame = pd.concat([make_frame(ids="a"), make_frame(HOURS[[0, 1, 4, 5]], ids="b")], ignore_index=True)
    error = refusal(frame, gaps="raise")
    assert (error.code, error.item_ids) == ("frame.gap", ("b",))
    assert "2024-01-01 01:00:00 (row 7)" in str(error)
    assert normalize_frame(make_frame(), gaps="raise").freq == "h"


def test_given_frequency_closes_gaps_that_inference_would_not():
    stamps = HOURS[[0, 3]].append(HOURS[[3]] + pd.Timedelta("40h"))
    with pytest.warns(TsarWarning, match="inserted: 41"):
        assert normalize_frame(make_frame(stamps), freq="h").lengths.tolist() == [44]


def test_a_wrong_year_does_not_fill_the_memory():
    stamps = HOURS[:5].append(pd.DatetimeIndex(["1970-01-01"]))
    error = refusal(make_frame(stamps), freq="s")
    assert (error.code, error.item_ids) == ("frame.too_many_gaps", ("a",))
    assert "1970-01-01" in str(error)


def test_steps_of_nanoseconds_over_centuries_do_not_overflow():
    error = refusal(make_frame(pd.DatetimeIndex(["1700-01-01", "1900-01-01", "2200-01-01"])), freq="ns")
    assert error.code in ("frame.too_many_gaps", "frequency.off_grid")


def test_long_yearly_series():
    stamps = pd.date_range("1900-01-01", periods=300, freq="YS")
    panel = normalize_frame(make_frame(stamps))
    assert (panel.freq, panel.lengths.tolist()) == ("YS-JAN", [300])
    assert str(panel.future_timestamps(6)[-1]) == "2205-01-01 00:00:00"


# --------------------------------------------------------------------------------------------------------- frequency


@pytest.mark.parametrize("given", ["h", "H", "60min", pd.offsets.Hour(), pd.Timedelta("1h")])
def test_frequency_in_any_spelling(given):
    panel = normalize_frame(two_items(), freq=given)
    assert panel.freq == "h"
    assert not panel.report.freq_inferred


def test_frequency_that_does_not_fit_is_told_which_does():
    mondays = make_frame(pd.date_range("2024-01-01", periods=5, freq="W-MON"))
    error = refusal(mondays, freq="W")
    assert (error.code, error.item_ids) == ("frequency.off_grid", ("a",))
    assert "freq='W-MON'" in error.hint
    assert "2024-01-01 00:00:00 (row 0)" in str(error)


def test_short_item_off_the_inferred_grid():
    frame = pd.concat([make_frame(ids="a"), make_frame(HOURS[:2], ids="b")], ignore_index=True)
    frame.loc[7, "timestamp"] += pd.Timedelta("5min")
    error = refusal(frame)
    assert (error.code, error.item_ids) == ("frequency.off_grid", ("b",))


def test_two_frequencies():
    frame = pd.concat([make_frame(ids="a"), make_frame(pd.date_range("2024-01-01", periods=6), ids=7)])
    error = refusal(frame)
    assert (error.code, error.item_ids) == ("frequency.mixed", ("a", 7))


def test_irregular_stamps():
    error = refusal(make_frame(HOURS + pd.to_timedelta([0, 1, 7, 3, 50, 59], unit="min")))
    assert (error.code, error.item_ids) == ("frequency.irregular", ("a",))


def test_one_row_needs_a_frequency():
    assert refusal(make_frame(HOURS[:1])).code == "frequency.cannot_infer"
    with pytest.warns(TsarWarning, match="only one observed value"):
        panel = normalize_frame(make_frame(HOURS[:1]), freq="h")
    assert forecast(panel)["timestamp"].tolist() == [HOURS[1], HOURS[2]]
    assert panel.report.single_value_items == 1


def test_two_weekdays_share_a_grid_of_seven_days():
    frame = pd.concat([make_frame(pd.date_range(f"2024-01-0{day}", periods=5, freq="7D"), ids=day) for day in (1, 3)])
    assert refusal(frame).code == "frequency.mixed"
    assert normalize_frame(frame, freq="7D").future_timestamps(1).day_name().tolist() == ["Monday", "Wednesday"]


def test_dates_cannot_hold_hours():
    frame = pl.DataFrame(
        {"item_id": ["a"] * 3, "timestamp": [date(2024, 1, day) for day in (1, 2, 3)], "target": [1.0] * 3}
    )
    assert refusal(frame, freq="h").code == "frequency.unsupported"
    assert normalize_frame(frame, freq="D").freq == "D"


# ------------------------------------------------------------------------------------------------- nothing to forecast


def test_items_without_observed_values_are_kept():
    frame = pd.concat([make_frame(ids="a"), make_frame(target=[np.nan] * 6, ids="b")])
    with pytest.warns(TsarWarning, match=r"no observed value in 1 of 2 items \('b'\)"):
        panel = normalize_frame(frame)
    assert panel.item_ids.tolist() == ["a", "b"]
    assert panel.lengths.tolist() == [6, 6]
    assert panel.report.unobserved_items == 1
    assert np.isnan(panel.series(1).target).all()
    assert len(forecast(panel)) == 4


def test_missing_predictions_stay_missing():
    panel = normalize_frame(make_frame())
    nothing = np.full((1, 2, 3), np.nan)
    result = make_forecast_frame(panel, nothing, LEVELS, nothing[..., 0])
    assert result[["predictions", "0.1", "0.5", "0.9"]].isna().all(axis=None)


def test_unused_categories_make_no_items():
    ids = pd.Categorical(["y"] * 6, categories=["x", "y", "z"])
    assert normalize_frame(make_frame(ids=ids)).item_ids.tolist() == ["y"]


# ---------------------------------------------------------------------------------------------------------- the result


def test_rows_and_columns_of_a_forecast():
    result = forecast(normalize_frame(two_items()), 3)
    assert result.columns.tolist() == ["item_id", "timestamp", "target_name", "predictions", "0.1", "0.5", "0.9"]
    assert result["item_id"].tolist() == ["b"] * 3 + ["a"] * 3
    assert result["predictions"].tolist() == [1, 11, 21, 101, 111, 121]
    assert result["0.9"].tolist() == [2, 12, 22, 102, 112, 122]
    assert result["timestamp"].dt.hour.tolist() == [6, 7, 8, 4, 5, 6]


@pytest.mark.parametrize(
    ("level", "name"), [(0.1, "0.1"), (0.1 + 0.2, "0.3"), (0.975, "0.975"), (np.float32(0.5), "0.5")]
)
def test_quantile_columns_are_named_by_their_level(level, name):
    assert quantile_column(level) == name


def test_every_level_has_its_own_column():
    levels = np.arange(1, 100) / 100
    assert [float(quantile_column(level)) for level in levels] == levels.tolist()


def test_repeated_levels_are_refused():
    panel = normalize_frame(make_frame())
    with pytest.raises(OptionError) as caught:
        make_forecast_frame(panel, np.zeros((1, 2, 2)), [0.3, 0.1 + 0.2], np.zeros((1, 2)))
    assert caught.value.code == "option.quantile_level"


@pytest.mark.parametrize("name", ["predictions", "target_name", "0.5"])
def test_names_that_the_forecast_takes_are_refused(name):
    panel = normalize_frame(make_frame().rename(columns={"item_id": name}), id_column=name)
    with pytest.raises(OptionError) as caught:
        forecast(panel, id_column=name)
    assert caught.value.code == "option.invalid"


# --------------------------------------------------------------------------------------------------------- as bytes


@pytest.mark.parametrize(
    "frame",
    [
        two_items(),
        two_items().astype({"item_id": "category"}),
        two_items().astype({"item_id": "string[python]"}),
        two_items().astype({"item_id": "string[pyarrow]"}),
        two_items().astype({"item_id": pd.ArrowDtype(pa.string())}),
        two_items().astype({"item_id": pd.ArrowDtype(pa.large_string())}),
        two_items().assign(item_id=7, timestamp=np.arange(10, dtype="int16")),
        make_frame(HOURS.tz_localize("Europe/Berlin").as_unit("s")),
        make_frame([f"{stamp:%Y-%m-%dT%H:%M}+03:30" for stamp in HOURS]),
        pl.from_pandas(two_items().astype({"item_id": "category"})),
        pl.from_pandas(make_frame(HOURS.tz_localize("Europe/Berlin"))).with_columns(
            pl.col("item_id").cast(pl.Enum(["a"]))
        ),
        pa.Table.from_pandas(make_frame(HOURS.tz_localize("Europe/Berlin").as_unit("s"))),
    ],
)
def test_bytes_give_the_panel_back(frame):
    panel = normalize_frame(frame)
    copy = panel_from_bytes(panel_to_bytes(panel))
    assert (copy.grid, copy.report, copy.item_ids.tolist()) == (panel.grid, panel.report, panel.item_ids.tolist())
    for name in ("values", "offsets", "starts"):
        np.testing.assert_array_equal(getattr(copy, name), getattr(panel, name))
        assert getattr(copy, name).dtype == getattr(panel, name).dtype
    result, expected = forecast(copy), forecast(panel)
    assert type(result) is type(expected)
    if isinstance(expected, pd.DataFrame):
        pd.testing.assert_frame_equal(result, expected)
        assert result["item_id"].dtype == expected["item_id"].dtype
    else:
        assert result.equals(expected)


def test_bytes_of_a_frame_without_ids():
    panel = normalize_frame(make_frame().drop(columns="item_id"), id_column=None)
    pd.testing.assert_frame_equal(forecast(panel_from_bytes(panel_to_bytes(panel))), forecast(panel))


def test_ids_that_cannot_be_saved():
    with pytest.raises(FrameError) as caught:
        panel_to_bytes(normalize_frame(make_frame(ids=[(1, 2)] * 6)))
    assert caught.value.code == "frame.bad_id"


@pytest.mark.parametrize(
    "damage", [lambda content: b"", lambda content: b"PAR1" * 50, lambda content: content[: len(content) // 2]]
)
def test_damaged_bytes_are_refused(damage):
    with pytest.raises(ReleaseError) as caught:
        panel_from_bytes(damage(panel_to_bytes(normalize_frame(two_items()))))
    assert caught.value.code == "release.bad_manifest"


# -------------------------------------------------------------------------------------------------------------- speed


def big_frame(num_items: int, length: int) -> pd.DataFrame:
    stamps = np.tile(pd.date_range("2020-01-01", periods=length, freq="h").to_numpy(), num_items)
    ids = np.repeat(np.array([f"item {i}" for i in range(num_items)], dtype=object), length)
    return pd.DataFrame(
        {"item_id": ids, "timestamp": stamps, "target": np.arange(num_items * length, dtype=np.float64)}
    )


@pytest.mark.slow
def test_a_million_rows_take_seconds_at_most():
    frame = big_frame(num_items=2000, length=500)
    for rows in (frame, frame.sample(frac=1, random_state=0)):
        began = time.perf_counter()
        normalize_frame(rows)
        assert time.perf_counter() - began < 5, "about 0.2 s in order and 0.6 s shuffled"


@pytest.mark.slow
def test_stamps_of_many_items_take_seconds_at_most():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TsarWarning)
        panel = normalize_frame(big_frame(num_items=100_000, length=5))
    began = time.perf_counter()
    assert len(panel.future_timestamps(24)) == 2_400_000
    assert time.perf_counter() - began < 2, "about 0.05 s"
