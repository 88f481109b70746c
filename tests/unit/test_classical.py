"""Theta and exponential smoothing through both libraries, and the model together with them."""

from __future__ import annotations

import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

from tsar.errors import OptionError
from tsar.refining.classical import _statsmodels_ets, fill_gaps, forecast_ets, forecast_theta, resolve_engine

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


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("unit", [1e-12, 1e15])
def test_units_do_not_matter(method, unit, engine):
    series = monthly(40)
    expected = method(series, 6, 12, LEVELS, engine=engine)
    np.testing.assert_allclose(method(series * unit, 6, 12, LEVELS, engine=engine) / unit, expected, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("missing", [3, 6])
def test_a_missing_end_does_not_shift_the_forecast(method, missing, engine):
    series = monthly(84)
    past = series[:72].copy()
    past[-missing:] = np.nan
    quantiles = method(past, 12, 12, LEVELS, engine=engine)
    assert np.abs(quantiles[:, 1] - series[72:]).mean() < 3.0
    if method is forecast_theta:  # the fast one
        trimmed = method(past[:-missing], 12 + missing, 12, LEVELS, engine=engine)
        np.testing.assert_array_equal(quantiles, trimmed[missing:])


def test_a_missing_end_widens_the_bands_of_a_random_walk():
    past = np.array([1.0, 3.0, 2.0])
    longer = forecast_theta(past, 5, 1, LEVELS)
    np.testing.assert_array_equal(forecast_theta(np.append(past, [np.nan] * 3), 2, 1, LEVELS), longer[3:])


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["no season", "additive", "multiplicative"])
def test_bands_cover_what_they_say(method, kind, engine):
    rng = np.random.default_rng(3)
    wave = np.sin(2 * np.pi * np.arange(60) / 6)
    hits, widths = [], []
    is_slow = engine == "statsmodels" and method is forecast_ets
    for _ in range(4 if is_slow else 12):
        noise = rng.normal(0, 2, 60)
        series = {
            "no season": 50 + noise, "additive": 50 + 30 * wave + noise,
            "multiplicative": (1 + 0.6 * wave) * (50 + noise),
        }[kind]  # fmt: skip
        quantiles = method(series[:54], 6, 1 if kind == "no season" else 6, LEVELS, engine=engine)
        hits.append((series[54:] > quantiles[:, 0]) & (series[54:] < quantiles[:, 2]))
        widths.append((quantiles[:, 2] - quantiles[:, 0]).mean())
    assert 0.55 < np.mean(hits) <= 1.0
    assert np.mean(widths) < 1.6 * 2 * 1.2816 * 2, "at most 1.6 times the band of the noise"


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_series_near_the_largest_and_smallest_numbers(method, engine):
    for scale in (1.7e308, 1e-310):
        alternating = np.where(np.arange(40) % 2, -scale, scale)
        assert np.isfinite(method(alternating, 5, 1, LEVELS, engine=engine)).all()
    shape = monthly(40) / 200
    expected = method(shape, 6, 12, LEVELS, engine=engine)
    for exponent in (-1000, 1000):
        scaled = method(np.ldexp(shape, exponent), 6, 12, LEVELS, engine=engine)
        np.testing.assert_array_equal(np.ldexp(scaled, -exponent), expected)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("level", [1e5, -1e7, 1e10])
def test_a_large_level_does_not_hide_the_variation(method, level, engine):
    series = monthly(84) - 100
    quantiles = method(series[:72] + level, 12, 12, LEVELS, engine=engine) - level
    assert np.abs(quantiles[:, 1] - series[72:]).mean() < 3.0


def test_a_steep_trend_far_ahead_is_no_failed_fit(engine):
    noise = np.random.default_rng(0).normal(0, 0.1, 20)
    median = forecast_ets(np.arange(20.0) + noise, 400, 1, [0.5], engine=engine)[:, 0]
    assert median[-1] == pytest.approx(419, rel=0.1)


@pytest.mark.parametrize("method", METHODS)
def test_the_levels_asked_for_do_not_change_the_numbers(method, engine):
    series = np.random.default_rng(0).normal(size=40)
    few = method(series, 8, 1, [0.9, 0.5], engine=engine)
    many = method(series, 8, 1, [1e-300, 0.0001, 0.001, 0.5, 0.9], engine=engine)
    np.testing.assert_allclose(few, many[:, [4, 3]], rtol=1e-12)
    assert (np.diff(many, axis=1) > 0).all()
    assert many[-1, 0] < -20, "a far level is no sign of a failed fit"


@pytest.mark.parametrize("judged", [0, 1, 2])
def test_a_fit_far_beyond_the_history_is_not_believed(monkeypatch, judged):
    series = np.random.default_rng(0).normal(size=40)
    for far in (5.0, 500.0):  # in ranges of the history: a wide forecast, and an absurd one

        def wild(history, horizon, season, levels, far=far):
            quantiles = np.zeros((horizon, len(levels)))
            quantiles[-1, np.argsort(np.abs(levels - LEVELS[judged]))[0]] = far * (judged - 1 or 1)
            return quantiles

        monkeypatch.setattr("tsar.refining.classical._statsmodels_ets", wild)
        ahead = forecast_ets(series, 5, 1, [0.3], engine="statsmodels")[:, 0]
        assert (np.ptp(ahead) == 0) == (far == 5.0), "the fit's level is flat here, the random walk's is not"


def test_one_form_that_fails_does_not_lose_the_others(monkeypatch):
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    fit = ETSModel.fit

    def fit_unless_damped(self, **options):
        if self.damped_trend:
            raise np.linalg.LinAlgError("SVD did not converge")
        return fit(self, **options)

    monkeypatch.setattr(ETSModel, "fit", fit_unless_damped)
    ahead = forecast_ets(np.arange(30.0) + np.sin(np.arange(30)), 5, 1, [0.5], engine="statsmodels")[:, 0]
    np.testing.assert_allclose(ahead, np.arange(30, 35), atol=2)


def test_an_error_of_any_kind_costs_one_series_its_fit(monkeypatch, engine):
    def fail(*_, **__):
        raise Exception("no model able to be fitted")  # as statsforecast raises it

    monkeypatch.setattr(f"tsar.refining.classical._{engine}_theta", fail)
    series = monthly(30)
    assert (forecast_theta(series, 5, 1, [0.5], engine=engine) == series[-1]).all()


def test_statsmodels_simulates_without_a_warning_and_repeatably():
    rng = np.random.default_rng(0)
    season = np.tile([1.0, 3.0, 9.0, 2.0], 15)
    series = season * (10 + 0.5 * np.arange(60)) * np.exp(0.1 * rng.normal(size=60))  # multiplicative: simulated
    series = series / series.max()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", category=FutureWarning)
        first, second = (_statsmodels_ets(series, 5, 4, np.array(LEVELS)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_threads_leave_the_filters_of_warnings_as_they_were():
    before = list(warnings.filters)
    series = [monthly(40, seed) for seed in range(24)]
    forecast = partial(forecast_theta, prediction_length=6, season_length=12, levels=LEVELS, engine="statsmodels")
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(forecast, series))
    assert warnings.filters == before
    np.testing.assert_array_equal(together[5], forecast(series[5]))


def test_a_day_of_minutes_takes_no_minutes():
    minutes = np.sin(2 * np.pi * np.arange(4 * 1440) / 1440) + 0.01 * np.random.default_rng(0).normal(size=4 * 1440)
    began = time.process_time()
    ahead = forecast_ets(minutes, 60, 1440, [0.5], engine="statsmodels")[:, 0]
    assert time.process_time() - began < 6
    np.testing.assert_allclose(ahead, np.sin(2 * np.pi * np.arange(60) / 1440), atol=0.1)


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


@pytest.mark.slow
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
