"""What the whole history adds to a forecast: the coarse view and the bound at zero."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tsar import Forecaster
from tsar.refining.history import coarse_rate, downsample, follow_coarse, zero_bound


@pytest.mark.parametrize(
    ("season", "context", "rate"),
    [
        (1, 1024, 1),
        (12, 1024, 1),
        (24, 1024, 1),
        (96, 1024, 1),
        (144, 1024, 6),
        (288, 1024, 12),
        (24, 100, 1),
        (1440, 1024, 60),
    ],
)
def test_only_seasons_that_hardly_fit_are_viewed_coarsely(season, context, rate):
    assert coarse_rate(season, context) == rate


def test_downsampling_averages_runs_from_the_end():
    values = np.array([9.0, 1, 3, 5, 7, 10, 20, np.nan, np.nan, 4, np.nan])
    offsets = np.array([0, 5, 6, 6, 11])
    coarse, starts = downsample(values, offsets, 2)
    assert starts.tolist() == [0, 2, 2, 2, 4]
    np.testing.assert_array_equal(coarse, [2.0, 6.0, np.nan, 4.0])


def test_downsampling_leaves_out_what_fits_already():
    values, offsets = np.arange(10.0), np.array([0, 4, 10])
    coarse, starts = downsample(values, offsets, 2, longer_than=4)
    assert starts.tolist() == [0, 0, 3]
    np.testing.assert_array_equal(coarse, [4.5, 6.5, 8.5])


def test_a_rate_beyond_every_series_and_too_few_runs_leave_nothing():
    values, offsets = np.arange(10.0), np.array([0, 4, 10])
    for options in ({"rate": 10**12}, {"rate": 10**30}, {"rate": 2, "at_least": 4}):
        coarse, starts = downsample(values, offsets, **options)
        assert coarse.size == 0
        assert starts.tolist() == [0, 0, 0]
    coarse, starts = downsample(values, offsets, 2, at_least=3)
    assert starts.tolist() == [0, 0, 3]


def test_the_largest_numbers_do_not_overflow():
    largest = np.finfo(float).max
    fine = np.broadcast_to(np.array([-largest, largest / 2, largest]), (2, 6, 3)).copy()
    coarse = np.broadcast_to(np.array([0.0, largest, largest]), (2, 3, 3)).copy()
    coarse[1] = np.nan
    moved = follow_coarse(fine, coarse, 2)
    np.testing.assert_array_equal(moved[1], fine[1])
    np.testing.assert_allclose(moved[0, :, 1], 0.75 * largest)
    np.testing.assert_array_equal(moved[0, :, 2], largest)
    ones = follow_coarse(np.ldexp(fine, -1020), np.ldexp(coarse, -1020), 2)
    np.testing.assert_allclose(np.ldexp(ones[0, :, 0], 1000), np.ldexp(moved[0, :, 0], -20))


@pytest.mark.parametrize("size", [40, 80, 119])
def test_one_or_two_coarse_points_do_not_pull_the_level(size):
    rng = np.random.default_rng(0)
    df = ten_minutes(1).head(size).assign(target=np.arange(size) + rng.normal(0, 0.1, size))
    model = {"prediction_length": 5, "context_length": 32}
    with_it, without = (Forecaster(**model, downsample=rate).predict(df) for rate in (size // 2, 1))
    pd.testing.assert_frame_equal(with_it, without)


def test_the_level_follows_the_coarse_forecast_and_the_shape_stays():
    fine = np.zeros((1, 6, 3)) + np.array([-1.0, 0.0, 1.0]) + np.tile([1.0, -1.0], 3)[None, :, None]
    coarse = np.full((1, 3, 3), 10.0)
    np.testing.assert_allclose(follow_coarse(fine, coarse, 2, weight=1.0), fine + 10)
    np.testing.assert_allclose(follow_coarse(fine, coarse, 2, weight=0.5), fine + 5)
    np.testing.assert_array_equal(follow_coarse(fine, np.full((1, 3, 3), np.nan), 2), fine)
    one_run = follow_coarse(fine[:, :1], np.full((1, 1, 3), 10.0), 2, weight=1.0)
    np.testing.assert_allclose(one_run[0, 0, 1], 10.0)


def test_the_shift_runs_smoothly_between_the_middles_of_runs():
    fine, coarse = np.zeros((1, 6, 1)), np.array([0.0, 2.0, 4.0])[None, :, None]
    moved = follow_coarse(fine, coarse, 2, weight=1.0)[0, :, 0]
    np.testing.assert_allclose(moved, [0.0, 0.5, 1.5, 2.5, 3.5, 4.0])


def test_bound_of_series_that_were_never_negative():
    values = np.array([1.0, 0.0, np.nan, 3.0, -1e-300, np.nan])
    offsets = np.array([0, 3, 3, 5, 6])
    assert zero_bound(values, offsets).tolist() == [0.0, -np.inf, -np.inf, -np.inf]


def ten_minutes(days=30):
    """Load with a daily cycle whose level swings over a week: seven days of 144 steps fill the context."""
    rng = np.random.default_rng(0)
    step = np.arange(144 * days)
    load = (
        10
        + 3 * np.sin(2 * np.pi * step / 144)
        + 4 * np.sin(2 * np.pi * step / (144 * 7))
        + rng.normal(0, 0.2, len(step))
    )
    return pd.DataFrame(
        {"item_id": "a", "timestamp": pd.date_range("2024-01-01", periods=len(step), freq="10min"), "target": load}
    )


def test_a_coarse_view_sees_the_week_that_the_context_does_not():
    df = ten_minutes()
    past, actual = df.iloc[:-144], df.target.to_numpy()[-144:]
    errors = {}
    for rate in (1, "auto"):
        forecast = Forecaster(prediction_length=144, downsample=rate, follow_period=False).predict(past)
        errors[rate] = np.abs(forecast["predictions"].to_numpy() - actual).mean()
    assert errors["auto"] < 0.8 * errors[1]


def test_a_constant_is_repeated_to_the_last_bit(tiny_release):
    """Means of equal numbers are rounded: the coarse view is not asked where nothing ever varied."""
    stamps = pd.date_range("2024-01-01", periods=2000, freq="min")
    parts = [pd.DataFrame({"item_id": str(y), "timestamp": stamps, "target": y}) for y in (0.1, 0.7, 9.3e17, 1.7e308)]
    forecast = Forecaster(tiny_release, prediction_length=70).predict(pd.concat(parts))
    np.testing.assert_array_equal(forecast["predictions"], forecast["item_id"].astype(float))
    np.testing.assert_array_equal(forecast["0.1"], forecast["0.9"])


def test_short_series_are_the_same_with_and_without_the_coarse_view():
    df = ten_minutes(5)
    with_it, without = (Forecaster(prediction_length=10, downsample=rate).predict(df) for rate in ("auto", 1))
    pd.testing.assert_frame_equal(with_it, without)


def test_forecast_of_what_was_never_negative_is_not():
    rng = np.random.default_rng(1)
    sales = rng.poisson(0.4, 200).astype(float)
    df = pd.DataFrame({"item_id": "a", "timestamp": pd.date_range("2024-01-01", periods=200), "target": sales})
    levels = [0.001, 0.01, 0.5]
    clipped = Forecaster(prediction_length=14, quantile_levels=levels).predict(df)
    assert (clipped[["0.001", "0.01", "0.5"]].to_numpy() >= 0).all()
    free = Forecaster(prediction_length=14, quantile_levels=levels, non_negative=False).predict(df)
    assert (free["0.001"] < 0).any()
    mirrored = Forecaster(prediction_length=14, quantile_levels=levels).predict(df.assign(target=-df.target - 1))
    assert (mirrored["0.001"] < 0).all()
    forced = Forecaster(prediction_length=14, quantile_levels=levels, non_negative=True).predict(
        df.assign(target=-df.target - 1)
    )
    assert (forced[["0.001", "0.01", "0.5"]].to_numpy() == 0).all()
