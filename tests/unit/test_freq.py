"""Frequencies: aliases, seasons, inference and future stamps, checked against pandas where pandas has an answer."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from tsar.errors import FrequencyError
from tsar.freq import canonical_freq, infer_freq, make_grid, season_length
from tsar.freq.grid import OFF_AXIS

FREQS = [
    "h", "2h", "6h", "36h", "30min", "15min", "min", "s", "10s", "250ms", "us", "ns",
    "D", "2D", "7D", "W-SUN", "W-WED", "2W-MON", "B",
    "MS", "ME", "2MS", "QS-OCT", "QS-NOV", "QE-DEC", "QE-NOV", "YS-JAN", "YS-APR", "YE-DEC", "YE-JUN", "2YS-JAN",
    "BMS", "BME", "BQS-OCT", "BQE-DEC", "BYS-JAN", "BYE-DEC",
]  # fmt: skip
EXPLICIT_ONLY = ["SMS-15", "SME-15", "WOM-3FRI", "2B", "3B"]


def stamps_of(*items: pd.DatetimeIndex | list[int]) -> tuple[pd.Index, np.ndarray, np.ndarray]:
    """Items end to end, as `infer_freq` takes them: stamps, offsets, ids."""
    indexes = [pd.Index(item) for item in items]
    stamps = indexes[0].append(indexes[1:])
    offsets = np.concatenate([[0], np.cumsum([len(index) for index in indexes])])
    return stamps, offsets, np.array([f"item {chr(97 + i)}" for i in range(len(items))], dtype=object)


def infer(*items: pd.DatetimeIndex | list[int]) -> str | int:
    return infer_freq(*stamps_of(*items))


def days(start: str, periods: int, freq: str = "D", tz: str | None = None) -> pd.DatetimeIndex:
    return pd.date_range(start, periods=periods, freq=freq, tz=tz)


def continue_stamps(stamps: pd.Index, freq: str | int, prediction_length: int) -> pd.Index:
    """The future of one item."""
    grid = make_grid(freq, stamps.dtype)
    positions = grid.place(stamps, np.array([0, len(stamps)]))
    return grid.future_stamps(positions[-1:], prediction_length)


# ---------------------------------------------------------------------------------------------------------- aliases


@pytest.mark.parametrize(
    ("spelling", "canonical"),
    [
        ("H", "h"), ("T", "min"), ("S", "s"), ("L", "ms"), ("U", "us"), ("N", "ns"), ("15T", "15min"), ("2H", "2h"),
        ("1D12h", "36h"), ("1h30min", "90min"), ("60min", "h"), ("3600s", "h"), ("1440min", "24h"), ("24H", "24h"),
        ("1.5h", "90min"), (" 15 min ", "15min"), ("d", "D"), ("7D", "7D"), ("b", "B"), ("C", "B"),
        ("W", "W-SUN"), ("w", "W-SUN"), ("W-Mon", "W-MON"), ("2W-WED", "2W-WED"),
        ("M", "ME"), ("3M", "3ME"), ("MS", "MS"), ("Q", "QE-DEC"), ("Q-NOV", "QE-NOV"), ("QS", "QS-JAN"),
        ("QS-OCT", "QS-OCT"),
        ("A", "YE-DEC"), ("Y", "YE-DEC"), ("A-JUN", "YE-JUN"), ("AS", "YS-JAN"), ("AS-APR", "YS-APR"), ("YS", "YS-JAN"),
        ("BM", "BME"), ("CBM", "BME"), ("CBMS", "BMS"), ("BQ", "BQE-DEC"), ("BQS", "BQS-JAN"), ("BA", "BYE-DEC"),
        ("BY", "BYE-DEC"), ("BAS", "BYS-JAN"), ("SM", "SME-15"), ("SMS", "SMS-15"), ("WOM-3FRI", "WOM-3FRI"),
        (pd.offsets.MonthBegin(2), "2MS"), (pd.Timedelta("15min"), "15min"), (timedelta(hours=3), "3h"),
    ],
)  # fmt: skip
def test_every_spelling_becomes_the_one_of_pandas_2_2(spelling, canonical):
    assert canonical_freq(spelling) == canonical


@pytest.mark.parametrize("freq", FREQS + EXPLICIT_ONLY)
def test_canonical_spelling_is_kept(freq):
    assert canonical_freq(freq) == freq


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "hourly",
        "nonsense",
        "h-MON",
        "RE-N-DEC-MON",
        "٣h",
        "h h",
        "-",
        "D-X",
        "W-XYZ",
        "0h",
        "-1h",
        "-D",
        "1mo",
        None,
        3.5,
    ],
)
def test_unknown_alias(text):
    with pytest.raises(FrequencyError) as caught:
        canonical_freq(text)
    assert caught.value.code == "frequency.unknown_alias"


@pytest.mark.parametrize("text", ["m", "15m"])
def test_minutes_or_months_is_asked_back(text):
    with pytest.raises(FrequencyError, match="'min', 'MS'") as caught:
        canonical_freq(text)
    assert caught.value.code == "frequency.unknown_alias"


@pytest.mark.parametrize("freq", ["bh", "BH", "cbh"])
def test_business_hours_are_not_supported(freq):
    with pytest.raises(FrequencyError) as caught:
        canonical_freq(freq)
    assert caught.value.code == "frequency.unsupported"


@pytest.mark.parametrize(
    ("freq", "season"),
    [
        ("h", 24), ("H", 24), ("2h", 12), ("5h", 1), ("12h", 2), ("24h", 7), ("168h", 52),
        ("30min", 48), ("15min", 96), ("10min", 144), ("5min", 288), ("min", 1440), ("7min", 1), ("90min", 16),
        ("s", 60), ("10s", 6), ("7s", 1), ("ms", 1000), ("100ms", 10), ("us", 1000), ("ns", 1000),
        ("D", 7), ("2D", 1), ("7D", 52), ("14D", 26), ("B", 5), ("2B", 1), ("W", 52), ("2W", 26), ("W-MON", 52),
        ("MS", 12), ("ME", 12), ("M", 12), ("2MS", 6), ("5MS", 1), ("BME", 12), ("QS", 4), ("QE", 4), ("2QS", 2),
        ("YE", 1), ("YS", 1), ("A", 1), ("5YS", 1), ("SMS", 24), ("SME", 24), ("WOM-3FRI", 12), (None, 1),
    ],
)  # fmt: skip
def test_season_length(freq, season):
    assert season_length(freq) == season


# ------------------------------------------------------------------------------------------------------------ grids


@pytest.mark.parametrize("freq", FREQS + EXPLICIT_ONLY)
@pytest.mark.parametrize("start", ["2019-12-27 00:00", "1969-06-14 05:45"])
def test_future_stamps_are_those_of_pandas(freq, start):
    stamps = pd.date_range(start, periods=20, freq=freq)
    pd.testing.assert_index_equal(continue_stamps(stamps[:8], freq, 12), stamps[8:], check_names=False, exact="equiv")


@pytest.mark.parametrize("freq", FREQS + EXPLICIT_ONLY)
def test_stamps_of_positions_of_stamps(freq):
    stamps = pd.date_range("1968-03-01 10:15", periods=120, freq=freq)
    grid, offsets = make_grid(freq, stamps.dtype), np.array([0, 90, 120])
    positions = grid.place(stamps, offsets)
    assert not grid.off_grid(positions, offsets).any()
    np.testing.assert_array_equal(np.diff(positions), grid.step)
    assert grid.stamps(positions).equals(stamps)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("freq", ["h", "D", "W-SUN", "B", "MS"])
@pytest.mark.parametrize("tz", [None, "Asia/Tokyo"])
def test_unit_and_zone_are_kept(freq, unit, tz):
    stamps = pd.date_range("2020-01-01", periods=9, freq=freq, tz=tz).as_unit(unit)
    future = continue_stamps(stamps[:5], freq, 4)
    assert future.dtype == stamps.dtype
    assert future.equals(stamps[5:])


def test_future_stamps_go_item_by_item():
    grid = make_grid("h", np.dtype("M8[ns]"))
    lasts = pd.DatetimeIndex(["2024-01-05", "2024-01-01", "2024-01-05"])
    future = grid.future_stamps(lasts.asi8, 2)
    assert list(future.strftime("%d %H")) == ["05 01", "05 02", "01 01", "01 02", "05 01", "05 02"]


def test_no_items_have_no_future():
    for freq in ("h", "D", "B", "MS"):
        assert len(make_grid(freq, np.dtype("M8[ns]")).future_stamps(np.array([], dtype=np.int64), 3)) == 0


def test_rows_off_the_grid_are_found():
    stamps = pd.DatetimeIndex(["2024-01-01", "2024-02-01", "2024-02-15", "2024-03-01", "2024-03-01 05:00"])
    grid, offsets = make_grid("MS", stamps.dtype), np.array([0, 5])
    assert grid.off_grid(grid.place(stamps, offsets), offsets).tolist() == [False, False, True, True, True]


@pytest.mark.parametrize(
    ("freq", "stamp"), [("B", "2024-01-06"), ("W-SUN", "2024-01-01"), ("MS", "2024-01-02"), ("QS-OCT", "2024-02-01")]
)
def test_stamps_that_a_frequency_does_not_have(freq, stamp):
    stamps = pd.DatetimeIndex([stamp])
    assert make_grid(freq, stamps.dtype).place(stamps, np.array([0, 1])).tolist() == [OFF_AXIS]


def test_each_item_has_its_own_phase():
    stamps, offsets, _ = stamps_of(days("2024-01-01 00:00", 4, "h"), days("2024-01-01 00:20", 4, "h"))
    grid = make_grid("h", stamps.dtype)
    assert not grid.off_grid(grid.place(stamps, offsets), offsets).any()


# -------------------------------------------------------------------------------------------------- changes of clocks


def test_days_follow_the_wall_clock():
    future = continue_stamps(days("2024-03-28", 3, tz="Europe/Berlin"), "D", 3)
    assert [str(stamp) for stamp in future] == [
        "2024-03-31 00:00:00+01:00", "2024-04-01 00:00:00+02:00", "2024-04-02 00:00:00+02:00",
    ]  # fmt: skip


def test_hours_follow_utc():
    future = continue_stamps(days("2024-03-30 22:00", 3, "h", "Europe/Berlin"), "h", 4)
    assert list(future.strftime("%H:%M")) == ["01:00", "03:00", "04:00", "05:00"]
    autumn = continue_stamps(days("2024-10-27 00:00", 2, "h", "Europe/Berlin"), "h", 3)
    assert list(autumn.strftime("%H:%M%z")) == ["02:00+0200", "02:00+0100", "03:00+0100"]


@pytest.mark.parametrize("freq", ["W-SUN", "B", "MS", "ME"])
def test_longer_periods_follow_the_wall_clock(freq):
    stamps = pd.date_range("2024-01-01 06:00", periods=40, freq=freq).tz_localize("America/New_York")
    assert continue_stamps(stamps[:4], freq, 36).equals(stamps[4:])


def test_midnight_that_is_skipped_moves_forward_and_is_read_back():
    stamps = days("2024-03-25", 12).tz_localize("Asia/Beirut", nonexistent="shift_forward")
    assert "2024-03-31 01:00:00+03:00" in map(str, stamps)
    assert infer(stamps) == "D"
    assert continue_stamps(stamps[:3], "D", 9).equals(stamps[3:])
    assert continue_stamps(stamps[:7], "D", 5).equals(stamps[7:]), "the last stamp is the one that was moved"
    assert continue_stamps(stamps[6:7], "D", 5).equals(stamps[7:]), "so is the only one"
    assert str(continue_stamps(stamps[7:8] + pd.Timedelta("1h"), "D", 1)[0]) == "2024-04-02 01:00:00+03:00"


def test_items_of_one_row_each_on_a_day_without_midnight():
    moved = days("2024-03-31", 1).tz_localize("Asia/Beirut", nonexistent="shift_forward").repeat(3)
    grid = make_grid("QE", moved.dtype)
    assert grid.future_stamps(grid.place(moved, np.arange(4)), 1).hour.tolist() == [0, 0, 0]


def test_wall_clock_time_that_comes_twice_is_the_first():
    stamps = days("2024-10-24 02:30", 3, tz="Europe/Berlin")
    assert str(continue_stamps(stamps, "D", 1)[0]) == "2024-10-27 02:30:00+02:00"


def test_days_by_utc_shown_in_a_zone_are_24_hours():
    stamps = days("2024-03-28", 6, tz="UTC").tz_convert("Europe/Berlin")
    assert infer(stamps) == "24h"
    assert continue_stamps(stamps[:3], "24h", 3).equals(stamps[3:])


# --------------------------------------------------------------------------------------------------- types and ranges


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint16", "uint64"])
def test_integers_stay_integers(dtype):
    future = continue_stamps(pd.Index(np.array([10, 15, 20], dtype=dtype)), 5, 2)
    assert future.dtype == dtype
    assert future.tolist() == [25, 30]


def test_step_of_integers_may_be_text():
    assert make_grid("5", np.dtype("int64")).step == 5


@pytest.mark.parametrize(
    ("freq", "dtype"),
    [
        ("h", "int64"),
        (0, "int64"),
        (True, "int64"),
        (1, "M8[ns]"),
        ("ms", "M8[s]"),
        ("1.5s", "M8[s]"),
        ("1500ms", "M8[s]"),
    ],
)
def test_frequency_that_does_not_suit_the_stamps(freq, dtype):
    with pytest.raises(FrequencyError) as caught:
        make_grid(freq, np.dtype(dtype))
    assert caught.value.code == "frequency.unsupported"


@pytest.mark.parametrize(
    ("last", "freq"),
    [
        (pd.DatetimeIndex(["2262-04-10"]), "h"),
        (pd.DatetimeIndex(["2262-04-10"]), "D"),
        (pd.DatetimeIndex(["2262-04-10"], tz="Asia/Tokyo"), "D"),
        (pd.DatetimeIndex(["2262-04-10"]), "B"),
        (pd.DatetimeIndex(["2262-01-01"]), "YS"),
        (pd.DatetimeIndex(np.array(["9999-12-01"], dtype="M8[s]")), "MS"),
        (pd.DatetimeIndex(np.array(["20000-12-01"], dtype="M8[s]")), "MS"),
        (pd.Index(np.array([120], dtype="int8")), 5),
        (pd.Index([2**63 - 2]), 1),
    ],
)
def test_future_beyond_the_type(last, freq):
    with pytest.raises(FrequencyError) as caught:
        continue_stamps(last, freq, 100)
    assert caught.value.code == "frequency.out_of_range"


def test_far_years_in_seconds():
    stamps = pd.DatetimeIndex(np.array(["1400-11-01", "1400-12-01", "1401-01-01"], dtype="M8[s]"))
    assert infer(stamps) == "MS"
    assert str(continue_stamps(stamps, "MS", 1)[0].date()) == "1401-02-01"


# -------------------------------------------------------------------------------------------------------- inference


@pytest.mark.parametrize("freq", FREQS)
def test_regular_series(freq):
    assert infer(pd.date_range("2019-12-27 00:00", periods=30, freq=freq)) == ("W-FRI" if freq == "7D" else freq)


@pytest.mark.parametrize("freq", [freq for freq in FREQS if freq != "7D"])
def test_spelling_is_that_of_pandas(freq):
    stamps = pd.date_range("2001-03-05", periods=30, freq=freq)
    assert infer(stamps) == canonical_freq(pd.infer_freq(stamps))


@pytest.mark.parametrize("freq", [freq for freq in FREQS if freq != "7D"])
@pytest.mark.parametrize("kept", [0.9, 0.5, 0.3])
def test_missing_rows_do_no_harm(freq, kept):
    rng = np.random.default_rng(7)
    whole = pd.date_range("2012-12-27 00:00", periods=300 if "Y" not in freq else 100, freq=freq)
    items = [whole[rng.random(len(whole)) < kept] for _ in range(3)]
    assert infer(*items) == freq


def test_items_of_fewer_than_three_rows_have_no_say():
    assert infer(days("2024-01-01 00:30", 1), days("2024-01-01", 5, "h"), days("2024-01-01", 2)) == "h"


def test_no_item_has_three_rows():
    with pytest.raises(FrequencyError, match="freq=") as caught:
        infer(days("2024-01-01", 2), days("2024-01-01", 1))
    assert caught.value.code == "frequency.cannot_infer"


def test_short_items_with_gaps_take_the_frequency_of_the_others():
    gappy = days("2024-01-01", 9, "h")[[0, 2, 4]]
    assert infer(days("2024-01-01", 40, "h"), gappy) == "h"


@pytest.mark.parametrize(
    ("first", "second"),
    [("h", "D"), ("D", "h"), ("D", "W-SUN"), ("D", "MS"), ("MS", "ME"), ("MS", "QS-OCT"), ("W-SUN", "W-MON"),
     ("h", "90min"),
     ("15min", "h"), ("B", "h"), ("QS-OCT", "QS-NOV"), ("min", "s"), ("YS-JAN", "YE-DEC"), ("D", "B")],
)  # fmt: skip
@pytest.mark.parametrize("periods", [6, 40])
def test_two_frequencies(first, second, periods):
    if "B" in (first, second):
        periods = 40  # a week of days could be either
    items = [pd.date_range("2024-01-01", periods=periods, freq=freq) for freq in (first, second)]
    with pytest.raises(FrequencyError) as caught:
        infer(*items)
    assert caught.value.code == "frequency.mixed"
    assert caught.value.item_ids == ("item a", "item b")
    assert f"'item a' has {first!r}" in str(caught.value)
    assert f"'item b' has {second!r}" in str(caught.value)


def test_the_stranger_among_many_is_named():
    hours = [days("2024-01-01", 50, "h")] * 5
    with pytest.raises(FrequencyError) as caught:
        infer(*hours, days("2024-01-01", 10), *hours)
    assert caught.value.item_ids == ("item a", "item f")


def test_irregular_stamps_name_item_and_stamp():
    broken = days("2024-01-01", 20, "h") + pd.to_timedelta([0] * 11 + [17] + [0] * 8, unit="min")
    with pytest.raises(FrequencyError, match="2024-01-01 11:17:00") as caught:
        infer(days("2024-01-01", 50, "h"), broken)
    assert caught.value.code == "frequency.irregular"
    assert caught.value.item_ids == ("item b",)
    assert "freq=" in caught.value.hint


def test_grid_of_which_no_single_step_is_seen_is_offered_not_assumed():
    with pytest.raises(FrequencyError) as caught:
        infer(days("2024-01-01", 20, "h")[[0, 2, 5, 10, 13, 15]])
    assert caught.value.code == "frequency.irregular"
    assert "freq='h'" in caught.value.hint


@pytest.mark.parametrize("tz", [None, "Europe/Berlin"])
def test_random_stamps_are_irregular(tz):
    rng = np.random.default_rng(3)
    stamps = pd.DatetimeIndex(np.sort(rng.integers(0, 10**17, 50)).astype("M8[ns]")).tz_localize("UTC").tz_convert(tz)
    with pytest.raises(FrequencyError) as caught:
        infer(stamps)
    assert caught.value.code == "frequency.irregular"


def test_steps_beyond_64_bits_are_irregular():
    with pytest.raises(FrequencyError) as caught:
        infer(pd.DatetimeIndex(["1700-01-01", "2024-01-01", "2024-01-02", "2024-01-03"]))
    assert caught.value.code == "frequency.irregular"


def test_step_of_integers():
    assert infer([0, 5, 10, 20], [3, 8, 13]) == 5
    with pytest.raises(FrequencyError) as caught:
        infer([0, 1, 2, 3, 4, 5, 6, 7], [0, 20, 40, 60])
    assert caught.value.code == "frequency.mixed"


def test_weeks_without_a_friday_are_still_weekdays():
    assert infer(days("2024-01-01", 60, "B")[[i for i in range(60) if i % 11]]) == "B"


def test_days_that_never_cross_a_weekend_are_days():
    assert infer(days("2024-01-01", 5)) == "D"
