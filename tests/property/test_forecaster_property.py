"""Frames of any shape through the shipped weights: a coded error, or a forecast that is sound."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from tsar import Forecaster
from tsar.errors import CODES, TsarError, TsarWarning

FREQS = ["h", "15min", "s", "D", "W-WED", "B", "MS", "ME", "QS-OCT", "YE", "7D", None]
ZONES = [None, "UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kathmandu"]
IDS = st.one_of(
    st.text(max_size=5), st.integers(-(2**60), 2**60), st.sampled_from(["Ä", "", "日本", "a\x00b", "NaN", "$"])
)
KINDS = {
    "pandas": lambda frame: frame,
    "polars": pl.from_pandas,
    "pyarrow": lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
}
MAGNITUDES = [1.0, 1.0, 1e-30, 1e30, 1e-300, 1e300, 5e-324]
LEVELS = [0.01, 0.1, 0.25, 0.5, 0.9, 0.999]
NAMES = [str(level) for level in LEVELS]


@st.composite
def stamps_of(draw, length):
    """Regular stamps: dates of some frequency and zone, or integers of some step."""
    freq, zone = draw(st.sampled_from(FREQS)), draw(st.sampled_from(ZONES))
    if freq is None:
        step = draw(st.integers(1, 9))
        return pd.Series(draw(st.integers(-50, 50)) + step * np.arange(length))
    start = pd.Timestamp("1999-12-25") + pd.Timedelta(days=draw(st.integers(0, 9000)))
    stamps = pd.date_range(start, periods=length, freq=freq)
    if zone is not None:
        stamps = stamps.tz_localize(zone, nonexistent="shift_forward", ambiguous="NaT")
        assume(stamps.notna().all())
    return pd.Series(stamps)


@st.composite
def values_of(draw, length):
    """Noise, a constant, counts or nothing; of any magnitude; some of them missing, now and then one infinite."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kinds = {
        "noise": rng.normal(size=length),
        "walk": rng.normal(size=length).cumsum() + 100,
        "constant": np.full(length, rng.normal()),
        "counts": rng.poisson(0.5, length).astype(float),
        "spike": np.where(np.arange(length) == length // 2, 1e6, 0.0),
        "nothing": np.full(length, np.nan),
    }
    values = kinds[draw(st.sampled_from(list(kinds)))] * draw(st.sampled_from(MAGNITUDES))
    values = np.where(rng.random(length) < draw(st.sampled_from([0.0, 0.0, 0.2, 0.9])), np.nan, values)
    if draw(st.integers(0, 19)) == 0:
        values[rng.integers(length)] = draw(st.sampled_from([np.inf, -np.inf]))
    return values


@st.composite
def frames(draw):
    """A few items, with gaps, now and then with a row twice, in any order."""
    length = draw(st.sampled_from([1, 2, 3, 17, 40, 90]))
    grid = draw(stamps_of(length))
    ids = draw(st.lists(IDS, min_size=1, max_size=3, unique=True))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    parts = []
    for item_id in ids:
        kept = rng.random(length) < draw(st.sampled_from([1.0, 1.0, 0.8]))
        kept[rng.integers(length)] = True
        part = pd.DataFrame({"item_id": [item_id] * length, "timestamp": grid, "target": draw(values_of(length))})[kept]
        parts.append(part[draw(st.sampled_from([0, 0, len(part) // 3])) :])
    frame = pd.concat(parts, ignore_index=True)
    if draw(st.integers(0, 19)) == 0:
        frame = pd.concat([frame, frame[-1:]])
    if draw(st.booleans()):
        frame = frame.iloc[rng.permutation(len(frame))]
    return frame.reset_index(drop=True)


@settings(deadline=None, max_examples=120)
@given(frames(), st.sampled_from([1, 2, 30, 64, 65, 150]), st.sampled_from(list(KINDS)), st.sampled_from([None, 1, 20]))
def test_a_coded_error_or_a_sound_forecast(frame, horizon, kind, context_length):
    try:
        given_frame = KINDS[kind](frame)
    except (pa.ArrowException, TypeError, OverflowError):  # that library cannot hold ids of mixed types
        given_frame = frame
    before = frame.copy(deep=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TsarWarning)
            forecaster = Forecaster(prediction_length=horizon, quantile_levels=LEVELS, context_length=context_length)
            result = forecaster.fit(given_frame).predict()
    except TsarError as error:
        event(error.code)
        assert error.code in CODES
        assert error.code.split(".")[0] in ("frame", "frequency")
        assert_refusal_is_deserved(frame, error.code)
    else:
        event("forecast")
        assert type(result) is type(given_frame)
        as_pandas = result if isinstance(result, pd.DataFrame) else result.to_pandas()
        check(as_pandas, frame, horizon, context_length)
    pd.testing.assert_frame_equal(frame, before)


def assert_refusal_is_deserved(frame, code):
    """Regular rows with finite values of one sort of id are never refused."""
    thin = frame["item_id"].value_counts().max() < 3
    clean = not np.isinf(frame["target"]).any() and not frame.duplicated(["item_id", "timestamp"]).any()
    if clean and not thin:
        assert code in ("frequency.irregular", "frequency.mixed", "frequency.off_grid", "frequency.cannot_infer")


def check(result, frame, horizon, context_length):
    assert result.columns.tolist() == ["item_id", "timestamp", "target_name", "predictions", *NAMES]
    items = frame["item_id"].drop_duplicates().tolist()
    assert result["item_id"].tolist() == [item_id for item_id in items for _ in range(horizon)]
    numbers = result[["predictions", *NAMES]].to_numpy(dtype=float)
    assert not np.isinf(numbers).any()
    for place, item_id in enumerate(items):
        rows = slice(place * horizon, (place + 1) * horizon)
        known = frame[frame["item_id"] == item_id]
        assert (result["timestamp"].iloc[rows] > known["timestamp"].max()).all()
        assert result["timestamp"].iloc[rows].is_monotonic_increasing
        if known["target"].isna().all():
            assert np.isnan(numbers[rows]).all()
        elif context_length is None or not np.isnan(numbers[rows]).all():  # a short context may see no value
            assert np.isfinite(numbers[rows]).all()
            assert (np.diff(numbers[rows, 1:], axis=1) >= 0).all()
            if known["target"].nunique() == 1:  # constants are exact, but for what no normal float can hold
                constant = known["target"].dropna().iloc[0]
                assert (np.abs(numbers[rows] - constant) < np.finfo(float).tiny).all()
