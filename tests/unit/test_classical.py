"""Theta and exponential smoothing through both libraries, and the model together with them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tsar import Forecaster
from tsar.classical import fill_gaps, forecast_ets, forecast_theta, resolve_engine
from tsar.ensemble import PRIOR_WEIGHTS, backtest_weights, cut_ends
from tsar.errors import OptionError

LEVELS = [0.1, 0.5, 0.9]
METHODS = (forecast_theta, forecast_ets)


@pytest.fixture(params=["statsmodels", "statsforecast"])
def engine(request):
    if request.param == "statsforecast":
        pytest.importorskip("statsforecast")
    return request.param


def monthly(size=72, seed=0):
    rng = np.random.default_rng(seed)
    step = np.arange(size)
    return 100 + 0.2 * step + 12 * np.sin(2 * np.pi * step / 12) + rng.normal(0, 1.5, size)


@pytest.mark.parametrize("method", METHODS)
def test_trend_and_season_are_continued(method, engine):
    series = monthly(84)
    quantiles = method(series[:72], 12, 12, LEVELS, engine=engine)
    assert quantiles.shape == (12, 3)
    assert (np.diff(quantiles, axis=1) > 0).all()
    last = np.abs(series[71] - series[72:]).mean()
    assert np.abs(quantiles[:, 1] - series[72:]).mean() < min(0.4 * last, 3.0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("unit", [1e-12, 1e15])
def test_units_do_not_matter(method, unit, engine):
    series = monthly(40)
    expected = method(series, 6, 12, LEVELS, engine=engine)
    np.testing.assert_allclose(method(series * unit, 6, 12, LEVELS, engine=engine) / unit, expected, rtol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_bands_cover_what_they_say(method, engine):
    rng = np.random.default_rng(3)
    hits = []
    for _ in range(16):
        series = 50 + rng.normal(0, 2, 45)
        quantiles = method(series[:40], 5, 1, LEVELS, engine=engine)
        hits.append((series[40:] > quantiles[:, 0]) & (series[40:] < quantiles[:, 2]))
    assert 0.66 < np.mean(hits) < 0.94


@pytest.mark.parametrize("method", METHODS)
def test_odd_histories(method, engine):
    assert np.isnan(method(np.full(9, np.nan), 3, 1, LEVELS, engine=engine)).all()
    assert np.isnan(method(np.empty(0), 3, 1, LEVELS, engine=engine)).all()
    np.testing.assert_array_equal(method(np.full(30, 7.0), 3, 12, LEVELS, engine=engine), 7.0)
    np.testing.assert_allclose(method(np.array([1.0, 3.0]), 2, 4, [0.5], engine=engine), 3.0)
    gappy = monthly(60)
    gappy[[5, 20, 21, 22]] = np.nan
    assert np.isfinite(method(gappy, 12, 12, LEVELS, engine=engine)).all()
    long_season = np.tile(np.sin(2 * np.pi * np.arange(168) / 168), 4) + 0.01 * np.random.default_rng(0).normal(
        size=672
    )
    ahead = method(long_season, 168, 168, LEVELS, engine=engine)[:, 1]
    assert np.abs(ahead - np.sin(2 * np.pi * np.arange(168) / 168)).mean() < 0.1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [6, 7, 9, 13, 25])
def test_strange_histories_get_sound_quantiles(method, size, engine):
    rng = np.random.default_rng(size)
    step = np.arange(size)
    strange = {
        "one spike": np.eye(1, size, size // 2)[0], "ramp": step * 1.0, "alternating": step % 2 * 1.0,
        "exponential": np.exp(step / 2), "counts": rng.poisson(0.3, size) * 1.0,
        "negative": -np.exp(3 * rng.normal(size=size)), "shift": np.where(step < size // 2, 0, 1e6),
    }  # fmt: skip
    for name, history in strange.items():
        quantiles = method(history, 5, 4, LEVELS, engine=engine)
        assert np.isfinite(quantiles).all(), name
        assert (np.diff(quantiles, axis=1) >= -1e-9 * np.abs(quantiles).max()).all(), name
        np.testing.assert_array_equal(method(history, 5, 4, LEVELS, engine=engine), quantiles, err_msg=name)


def test_gaps_are_filled_linearly_and_ends_trimmed():
    assert fill_gaps(np.array([np.nan, 1, np.nan, 3, np.nan])).tolist() == [1.0, 2.0, 3.0]


def test_unknown_engine():
    with pytest.raises(OptionError) as caught:
        resolve_engine("prophet")
    assert caught.value.code == "option.invalid"


def test_weights_go_to_what_did_well():
    weights = backtest_weights(np.array([[1.0, 1.0, 1.0], [1.0, 4.0, 4.0], [4.0, 1.0, 4.0], [0.0, 0.0, 0.0]]))
    np.testing.assert_allclose(weights.sum(1), 1)
    np.testing.assert_allclose(weights[[0, 3]], np.tile(PRIOR_WEIGHTS, (2, 1)))
    assert weights[1, 0] > 0.9
    assert weights[2, 1] > 0.7


def test_cut_ends():
    values, offsets = np.arange(10.0), np.array([0, 6, 7, 10])
    cut, starts = cut_ends(values, offsets, 2, 1)
    assert starts.tolist() == [0, 4, 4, 5]
    assert cut.tolist() == [0.0, 1.0, 2.0, 3.0, 7.0]


def test_ensemble_moves_the_centre_and_keeps_the_spread():
    df = pd.concat(
        pd.DataFrame(
            {
                "item_id": name,
                "timestamp": pd.date_range("2018-01-31", periods=size, freq="ME"),
                "target": monthly(size, seed),
            }
        )
        for seed, (name, size) in enumerate({"a": 60, "b": 8, "c": 3}.items())
    )
    plain = Forecaster(prediction_length=6, non_negative=False).predict(df)
    both = Forecaster(prediction_length=6, non_negative=False, ensemble="classical").predict(df)
    spread = plain["0.9"] - plain["0.1"]
    np.testing.assert_allclose(both["0.9"] - both["0.1"], spread, rtol=1e-6)
    assert (both["predictions"] != plain["predictions"]).mean() > 0.9
    assert np.isfinite(both["predictions"]).all()
    alone = Forecaster(prediction_length=6, non_negative=False, ensemble="classical").predict(df[df.item_id == "a"])
    np.testing.assert_allclose(alone["predictions"], both["predictions"][both.item_id == "a"], rtol=1e-5)
