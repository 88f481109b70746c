"""Calibration: coverage on ends that it has not seen, ordered quantiles, and a forecaster that keeps it."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from statsmodels.datasets import elnino, sunspots

from tsar import Forecaster, backtest
from tsar.backtesting import BacktestResult
from tsar.baselines import Drift, SeasonalNaive
from tsar.conformal import Calibration, calibrate_backtest, conformal_quantile, fit_calibration, normal_scores
from tsar.errors import TsarError, TsarWarning
from tsar.forecast import Forecast
from tsar.metrics import interval_coverage

LEVELS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


class Overconfident(Drift):
    """Bands a third as wide as they should be, and all too low: what calibration must find."""

    def _forecast_one(self, past, horizon, season, levels):
        right = super()._forecast_one(past, horizon, season, levels)
        middle = super()._forecast_one(past, horizon, season, np.array([0.5]))
        return middle + (right - middle) / 3 - 0.5 * np.std(np.diff(past))


def walks(num_items=30, length=120, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.standard_t(4, size=(num_items, length)).cumsum(1) * np.geomspace(0.01, 1e4, num_items)[:, None]
    ids, stamps = np.repeat(np.arange(num_items), length), np.tile(np.arange(length), num_items)
    return pd.DataFrame({"item_id": ids, "timestamp": stamps, "target": values.ravel()})


def test_calibrating_in_many_threads_leaves_warnings_as_they_are(tiny_release):
    forecaster = Forecaster(str(tiny_release), prediction_length=4, freq=1, calibrate=True)
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda seed: clone(forecaster).fit(walks(8, 60, seed)), range(8)))
    assert warnings.filters == before


def coverage_of(result):
    return result.coverage_report(by_step=False).set_index("band").loc[0.8, "coverage"]


@pytest.fixture(scope="module")
def overconfident():
    return backtest(Overconfident(prediction_length=6, freq=1), walks(), windows=16)


@pytest.mark.parametrize("method", ["cqr", "split"])
def test_bands_of_a_bad_forecaster_are_mended(overconfident, method):
    held_back = overconfident.select(range(6, 16))
    assert coverage_of(held_back) < 0.45
    calibrated = calibrate_backtest(overconfident, method)
    assert abs(coverage_of(calibrated) - 0.8) <= 0.02
    report = calibrated.coverage_report()
    np.testing.assert_allclose(report.query("band == 0.8")["coverage"], 0.8, atol=0.09)
    assert calibrated.scores["coverage_error"] < 0.02
    assert calibrated.scores["WQL"] < held_back.scores["WQL"]


@pytest.mark.slow
def test_real_series_with_the_shipped_model():
    """Package data: sea temperature by month and sunspots by year, as many cutoffs as they give."""
    spots = sunspots.load_pandas().data["SUNACTIVITY"].to_numpy()
    sea = elnino.load_pandas().data.set_index("YEAR").to_numpy().ravel()
    hits, misses = [], []
    for values, horizon in ((sea, 12), (spots, 6)):
        df = pd.DataFrame({"timestamp": np.arange(len(values)), "target": values})
        forecaster = Forecaster(prediction_length=horizon, id_column=None, freq=1)
        result = backtest(forecaster, df, windows=40, min_history=60)
        calibrated = calibrate_backtest(result, windows=12)
        numbers = calibrated.windows
        levels = numbers.levels.tolist()
        lower, upper = (numbers.quantiles[..., levels.index(level)] for level in (0.1, 0.9))
        hits.append(interval_coverage(numbers.actual, lower, upper))
        misses.append(coverage_of(result.select(range(12, 40))))
    assert abs(np.mean(hits) - 0.8) <= 0.04, (hits, misses)


def test_items_of_any_size_are_pooled(overconfident):
    calibration = fit_calibration(overconfident)
    forecast = Forecast(np.array([[[1.0, 2, 3, 4, 5, 6, 7, 8, 9]] * 6]), np.array(LEVELS))
    plain = calibration.apply(forecast).quantiles
    scaled = calibration.apply(Forecast(1e6 * forecast.quantiles, forecast.levels)).quantiles
    np.testing.assert_allclose(scaled, 1e6 * plain)


def test_order_holds_whatever_is_learned():
    rng = np.random.default_rng(0)
    calibration = fit_calibration(backtest(Drift(prediction_length=3, freq=1), walks(3, 40), windows=2))
    wild = Calibration("cqr", calibration.levels, rng.normal(size=(3, 9)), calibration.dependence, 9)
    quantiles = np.sort(rng.normal(size=(50, 7, 9)), -1)
    result = wild.apply(Forecast(quantiles, np.array(LEVELS)))
    assert (np.diff(result.at([0.01, *LEVELS, 0.99]), axis=-1) >= 0).all()
    constant = Forecast(np.full((1, 7, 9), 5.0), np.array(LEVELS))
    np.testing.assert_array_equal(wild.apply(constant).quantiles, 5.0)
    np.testing.assert_array_equal(wild.apply(Forecast(np.full((1, 7, 9), np.nan), np.array(LEVELS))).quantiles, np.nan)


@pytest.mark.parametrize("level", [0.05, 0.1, 0.9, 0.95])
@pytest.mark.parametrize("count", [30, 100])
def test_conformal_quantile_keeps_its_promise(level, count):
    rng = np.random.default_rng(0)
    draws = rng.exponential(size=(4000, count + 1))
    at_or_below = np.mean([draw[0] <= conformal_quantile(draw[1:], level) for draw in draws])
    margin = 1 / (count + 1) + 0.015
    assert (
        level - 0.015 <= at_or_below <= level + margin
        if level > 0.5
        else level - margin <= at_or_below <= level + 0.015
    )


def test_conformal_quantile_of_nothing():
    assert conformal_quantile(np.array([np.nan]), 0.9) == 0.0
    assert conformal_quantile(np.array([2.0]), 0.1) == 2.0


def test_normal_scores_of_a_normal_law():
    z = np.random.default_rng(0).normal(size=(1000, 1))
    from scipy.special import ndtri

    quantiles = 3 + 2 * np.broadcast_to(ndtri(LEVELS), (1000, 1, 9))
    np.testing.assert_allclose(
        normal_scores(3 + 2 * z, Forecast(quantiles, np.array(LEVELS))), z.clip(-4, 4), atol=1e-9
    )


def test_forecaster_learns_it_in_fit_keeps_and_saves_it(tiny_release, tmp_path):
    df = walks(4, 90)
    options = {"prediction_length": 8, "freq": 1, "quantile_levels": [0.05, 0.5, 0.95]}
    forecaster = Forecaster(str(tiny_release), **options, calibrate=True).fit(df)
    by_hand = backtest(
        Forecaster(str(tiny_release), **options), df, windows=24, quantile_levels=[0.05, *LEVELS, 0.95]
    )  # 200 points of each step are wanted, of 4 items
    np.testing.assert_allclose(forecaster.calibration_.shifts, fit_calibration(by_hand).shifts)
    raw = Forecaster(str(tiny_release), **options).fit(df).predict()
    calibrated = forecaster.predict()
    assert not np.allclose(raw["0.95"], calibrated["0.95"])
    forecaster.save(tmp_path / "kept")
    pd.testing.assert_frame_equal(Forecaster.load(tmp_path / "kept").predict(), calibrated)
    pd.testing.assert_frame_equal(forecaster.predict(df), calibrated)


def test_refusals(tiny_release, overconfident):
    forecaster = Forecaster(str(tiny_release), prediction_length=8, freq=1)
    short = walks(2, 9)
    overlapping = backtest(SeasonalNaive(prediction_length=6), walks(2), windows=9, step=1)
    only_median = backtest(Drift(quantile_levels=[0.5], prediction_length=6), walks(2))
    for call, code in (
        (lambda: forecaster.set_params(calibrate="aci").fit(short), "option.invalid"),
        (lambda: forecaster.set_params(calibrate=True).fit(short), "backtest.too_short"),
        (lambda: Forecaster(str(tiny_release), calibrate=True).predict(walks(2, 50)), "forecaster.not_fitted"),
        (lambda: Forecaster(calibrate=True, quantile_levels=["x"], freq=1).fit(walks(2)), "option.quantile_level"),
        (lambda: fit_calibration(overconfident, "magic"), "option.invalid"),
        (lambda: calibrate_backtest(overconfident, windows=16), "option.invalid"),
        (lambda: calibrate_backtest(overlapping), "option.invalid"),
        (lambda: fit_calibration(only_median), "option.quantile_level"),
    ):  # fmt: skip
        with pytest.raises(TsarError) as caught:
            call()
        assert caught.value.code == code
    with pytest.warns(TsarWarning, match="calibration rests on 12 points"):
        forecaster.set_params(calibrate=True, prediction_length=6).fit(walks(1, 16))


def test_selection_is_of_windows(overconfident):
    part = overconfident.select([3, 4])
    assert isinstance(part, BacktestResult)
    whole = overconfident.score_by("cutoff")["MASE"].to_numpy()
    np.testing.assert_allclose(part.score_by("cutoff")["MASE"], whole[3:5])


@pytest.mark.parametrize("method", ["cqr", "split"])
def test_the_widest_bands_and_largest_numbers_stay_finite_and_ordered(method):
    largest = np.finfo(np.float64).max
    forecast = Forecast(np.broadcast_to(np.linspace(-1, 1, 9) * largest, (2, 5, 9)), np.array(LEVELS))
    dependence = fit_dependence()
    for shift in (0.0, 0.5, -3.0):
        calibration = Calibration(method, np.array(LEVELS), np.full((5, 9), shift), dependence, 100)
        with np.errstate(all="raise"):
            quantiles = calibration.apply(forecast).quantiles
        assert np.isfinite(quantiles).all()
        assert (quantiles[..., 1:] >= quantiles[..., :-1]).all()


def fit_dependence():
    from tsar.samples import Dependence

    return Dependence.fit(np.random.default_rng(0).normal(size=(50, 5)))
