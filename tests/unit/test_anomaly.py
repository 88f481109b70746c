"""detect_anomalies: what was put in comes first, no score looks ahead, and the intervals say what happened."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.stats import norm
from statsmodels.datasets import elnino

from tsar import detect_anomalies
from tsar.decode.rolling import WARM_UP, forecasts_from, rolling_quantiles
from tsar.errors import ModelError, OptionError, TsarWarning
from tsar.hub import load_model
from tsar.tasks.anomaly import normal_scores, smooth_scores, tail_threshold

LEVELS = np.arange(1, 10) / 10
MONTHS = pd.date_range("1950-01-01", periods=1200, freq="MS")


def temperature() -> np.ndarray:
    return elnino.load_pandas().data.set_index("YEAR").to_numpy(dtype=float).ravel()


def frame_of(values, item_id="a") -> pd.DataFrame:
    return pd.DataFrame({"item_id": item_id, "timestamp": MONTHS[: len(values)], "target": values})


@pytest.mark.parametrize(("place", "size"), [(200, 7.0), (431, -5.0), (700, 5.0)])
def test_an_injected_anomaly_ranks_first_and_is_explained(place, size):
    values = temperature()
    values[place] += size
    points, intervals = detect_anomalies(frame_of(values), explain=True)
    assert points["score"].idxmax() == place
    assert points["is_anomaly"][place]
    assert points["is_anomaly"].sum() < 8
    worst = intervals.iloc[0]
    assert worst["timestamp"] <= MONTHS[place] == worst["peak"] <= worst["end"]
    assert worst["direction"] == ("above" if size > 0 else "below")
    assert worst["seen"] == values[place]
    assert abs(worst["expected"] - (values[place] - size)) < 3
    assert points["interval"][place] > 0


def test_clean_noise_raises_hardly_an_alarm():
    rng = np.random.default_rng(0)
    values = 10 + np.sin(2 * np.pi * np.arange(1200) / 12) + 0.5 * rng.normal(size=1200)
    assert detect_anomalies(frame_of(values))["is_anomaly"].mean() < 0.003


def test_scores_do_not_depend_on_later_points():
    values = temperature()
    whole = detect_anomalies(frame_of(values))["score"].to_numpy()
    cut = detect_anomalies(frame_of(values[:333]))["score"].to_numpy()
    np.testing.assert_allclose(cut, whole[:333], atol=1e-3)


def test_missing_values_have_no_score_and_do_not_raise_others():
    values = temperature()
    values[100:110] = np.nan
    with pytest.warns(TsarWarning, match="missing rows inserted"):
        points = detect_anomalies(frame_of(values).drop(index=[300]))
    missing = np.isnan(points["score"].to_numpy())
    warm = WARM_UP * load_model("tsar-tiny").config.patch_length
    expected = np.isin(np.arange(len(values)), [*range(warm), *range(100, 110), 300])
    np.testing.assert_array_equal(missing, expected)
    assert not points["is_anomaly"][missing].any()


def test_contamination_flags_that_share_of_each_item():
    both = pd.concat([frame_of(temperature(), "a"), frame_of(100 * temperature()[:400], "b")], ignore_index=True)
    points = detect_anomalies(both, contamination=0.05, merge=1)
    for _, part in points.groupby("item_id"):
        flagged = part[part["is_anomaly"]]["score"]
        assert len(flagged) == round(0.05 * part["score"].notna().sum())
        assert flagged.min() >= part[~part["is_anomaly"]]["score"].max()
    assert (points["score"] >= 2.5)[detect_anomalies(both, threshold=2.5)["is_anomaly"]].all()


def test_short_constant_and_empty_series_and_polars(decoder):
    frame = pd.concat(
        [frame_of(np.ones(60), "flat"), frame_of(np.full(50, np.nan), "none"), frame_of([1.0, 2.0], "short")]
    )
    with pytest.warns(UserWarning, match="observed"):
        points, intervals = detect_anomalies(pl.from_pandas(frame), decoder, explain=True)
    assert isinstance(points, pl.DataFrame)
    assert isinstance(intervals, pl.DataFrame)
    assert len(intervals) == 0
    assert not points["is_anomaly"].any()
    flat = np.ones(60)
    flat[50] = 2.0  # the first change ever
    assert detect_anomalies(frame_of(flat), decoder)["is_anomaly"].to_numpy().nonzero()[0].tolist() == [50]


def test_rolling_forecasts_are_those_of_windows_cut_at_the_cutoff(decoder):
    from tsar.decode import decode_panel

    values = np.random.default_rng(0).normal(size=300).cumsum()
    values[40:50] = np.nan
    first, cutoffs = np.array([0, 0, 0, 200, 200]), np.array([9, 64, 128, 201, 263])
    answers = forecasts_from(decoder, values, first, cutoffs, 11)
    for start, cutoff, answer in zip(first, cutoffs, answers, strict=True):
        window, bounds = values[start:cutoff], np.array([0, cutoff - start])
        alone = decode_panel(decoder, window, bounds, 11, context_lengths=[128], symmetrize=True)[0]
        np.testing.assert_allclose(answer, alone, rtol=1e-4, atol=1e-4)
    rolling = rolling_quantiles(decoder, values, np.array([0, 300]))
    one = forecasts_from(decoder, values, first[:1], np.array([64]), 8)[0]
    np.testing.assert_allclose(rolling[64:72], one, rtol=1e-4, atol=1e-4)
    assert np.isnan(rolling[:16]).all()


def test_normal_scores_are_those_of_a_normal_law():
    values = np.linspace(-6, 6, 101)
    quantiles = np.tile(norm.ppf(LEVELS), (101, 1))
    scores = normal_scores(3 + 2 * values, 3 + 2 * quantiles, LEVELS, np.zeros(101))
    np.testing.assert_allclose(scores, values, atol=1e-9)
    at_once = normal_scores(np.array([1.0, 2.0, np.nan]), np.ones((3, 9)), LEVELS, np.zeros(3))
    np.testing.assert_array_equal(at_once, [0.0, 100.0, np.nan])


def test_smoothing_and_tail():
    scores = np.array([np.nan, 1.0, 2.0, 3.0, np.nan, 9.0])
    np.testing.assert_allclose(smooth_scores(scores, 3), [np.nan, 1.5, 2.0, 2.5, np.nan, 9.0])
    rng = np.random.default_rng(0)
    clean = rng.exponential(size=20_000)
    assert 6 < tail_threshold(clean) < 8  # -log(1e-3) = 6.9
    assert tail_threshold(np.concatenate([clean, np.full(50, 80.0)])) < 9
    assert tail_threshold(np.array([np.nan, 1.0])) == 4.0


def test_wrong_options_have_their_codes(small_decoder):
    frame = frame_of(temperature()[:80])
    full = small_decoder(attention="full", scaling="window", output_length=8, max_span=0)
    for options, code in (
        ({"contamination": 0.7}, "option.invalid"),
        ({"threshold": -1}, "option.invalid"),
        ({"threshold": 3, "contamination": 0.1}, "option.invalid"),
        ({"smooth": 0}, "option.invalid"),
        ({"merge": 1.5}, "option.invalid"),
        ({"quantile_levels": [0.1]}, "option.invalid"),
        ({"quantile_levels": [0.1, 1.2]}, "option.quantile_level"),
        ({"target": "score"}, "option.invalid"),
        ({"model": full}, "model.wrong_task"),
    ):
        with pytest.raises((OptionError, ModelError)) as caught:
            detect_anomalies(frame, **options)
        assert caught.value.code == code
