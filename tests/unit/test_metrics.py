"""Metrics: the numbers that GluonTS, utilsforecast, sktime, darts and scikit-learn give for the same windows."""

import numpy as np
import pandas as pd
import pytest
import utilsforecast.losses as uf

from tsar.metrics import (
    coverage,
    interval_coverage,
    mean_absolute_scaled_error,
    seasonal_error,
    symmetric_mape,
    weighted_quantile_loss,
)

LEVELS = np.arange(1, 10) / 10
ITEMS, PAST, AHEAD, SEASON = 6, 60, 12, 7


@pytest.fixture(scope="module")
def windows() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Histories (I, N), what came (I, F) and quantiles (I, F, Q)."""
    rng = np.random.default_rng(0)
    series = rng.normal(size=(ITEMS, PAST + AHEAD)).cumsum(1) + 10 * rng.normal(size=(ITEMS, 1))
    actual = series[:, PAST:]
    noise = rng.normal(size=actual.shape)
    quantiles = (actual + noise)[..., None] + 2 * np.sort(rng.normal(size=(ITEMS, AHEAD, 9)), -1)
    return series[:, :PAST], actual, quantiles


def scales(past: np.ndarray) -> np.ndarray:
    return np.array([seasonal_error(row, SEASON) for row in past])


def frames(windows) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The same windows for utilsforecast: what came with the quantiles as models, and the histories."""
    past, actual, quantiles = windows
    ahead = pd.DataFrame(
        {"unique_id": np.repeat(np.arange(ITEMS), AHEAD), "ds": np.tile(PAST + np.arange(AHEAD), ITEMS)}
    )
    ahead["y"] = actual.ravel()
    for place, level in enumerate(LEVELS):
        ahead[f"q{level:.1f}"] = quantiles[..., place].ravel()
    train = pd.DataFrame({"unique_id": np.repeat(np.arange(ITEMS), PAST), "ds": np.tile(np.arange(PAST), ITEMS)})
    train["y"] = past.ravel()
    return ahead, train


class WindowsOfGluonts:
    """The same windows as the `TestData` that GluonTS evaluates on."""

    def __init__(self, past: np.ndarray, actual: np.ndarray) -> None:
        self.start = pd.Period("2024-01-01", freq="D")
        self.input = [{"start": self.start, "target": row} for row in past]
        self.label = [{"start": self.start + PAST, "target": row} for row in actual]

    def __iter__(self):
        return iter(zip(self.input, self.label, strict=True))

    def __len__(self):
        return ITEMS


def test_mase_is_that_of_utilsforecast(windows):
    past, actual, quantiles = windows
    ahead, train = frames(windows)
    expected = uf.mase(ahead, models=["q0.5"], seasonality=SEASON, train_df=train)["q0.5"].mean()
    assert mean_absolute_scaled_error(actual, quantiles[..., 4], scales(past)) == pytest.approx(expected, rel=1e-6)


def test_quantile_loss_is_that_of_utilsforecast(windows):
    _, actual, quantiles = windows
    ahead, _ = frames(windows)
    models = {"model": [f"q{level:.1f}" for level in LEVELS]}
    mean_loss = uf.mqloss(ahead, models=models, quantiles=LEVELS)["model"].mean()
    expected = 2 * mean_loss * actual.size / np.abs(actual).sum()
    assert weighted_quantile_loss(actual, quantiles, LEVELS) == pytest.approx(expected, rel=1e-6)


def test_coverage_is_the_calibration_of_utilsforecast(windows):
    _, actual, quantiles = windows
    ahead, _ = frames(windows)
    expected = [uf.calibration(ahead, models={"model": f"q{level:.1f}"})["model"].mean() for level in LEVELS]
    np.testing.assert_allclose(coverage(actual, quantiles), expected, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:Using `json`-module")
def test_mase_and_wql_are_those_of_gluonts(windows):
    from gluonts.ev.metrics import MASE, MeanWeightedSumQuantileLoss
    from gluonts.model.evaluation import evaluate_forecasts
    from gluonts.model.forecast import QuantileForecast

    past, actual, quantiles = windows
    data = WindowsOfGluonts(past, actual)
    keys = [f"{level:.1f}" for level in LEVELS]
    scored = evaluate_forecasts(
        [
            QuantileForecast(forecast_arrays=one.T, start_date=data.start + PAST, forecast_keys=keys)
            for one in quantiles
        ],
        test_data=data,
        metrics=[MASE(), MeanWeightedSumQuantileLoss(quantile_levels=LEVELS.tolist())],
        seasonality=SEASON,
        axis=None,
    )
    mase = mean_absolute_scaled_error(actual, quantiles[..., 4], scales(past))
    assert mase == pytest.approx(scored["MASE[0.5]"].item(), rel=1e-6)
    wql = weighted_quantile_loss(actual, quantiles, LEVELS)
    assert wql == pytest.approx(scored["mean_weighted_sum_quantile_loss"].item(), rel=1e-6)


def our_scores(windows) -> dict[str, float]:
    past, actual, quantiles = windows
    return {
        "MASE": mean_absolute_scaled_error(actual, quantiles[..., 4], scales(past)),
        "sMAPE": symmetric_mape(actual, quantiles[..., 4]),
        "coverage": interval_coverage(actual, quantiles[..., 0], quantiles[..., 8]),
        "mean quantile loss": weighted_quantile_loss(actual, quantiles, LEVELS) * np.abs(actual).mean() / 2,
    }


def test_scores_are_those_of_sktime(windows):
    pytest.importorskip("sktime")
    from sktime.performance_metrics.forecasting import MeanAbsolutePercentageError, MeanAbsoluteScaledError
    from sktime.performance_metrics.forecasting.probabilistic import EmpiricalCoverage, PinballLoss

    scores = []
    for past, actual, quantiles in zip(*windows, strict=True):
        at = pd.RangeIndex(PAST, PAST + AHEAD)
        y, median = pd.Series(actual, at), pd.Series(quantiles[:, 4], at)
        levels = pd.DataFrame(quantiles, at, pd.MultiIndex.from_product([["y"], LEVELS]))
        ends = levels.iloc[:, [0, 8]].set_axis(pd.MultiIndex.from_product([["y"], [0.8], ["lower", "upper"]]), axis=1)
        scores.append(
            {
                "MASE": MeanAbsoluteScaledError(sp=SEASON)(y, median, y_train=pd.Series(past)),
                "sMAPE": MeanAbsolutePercentageError(symmetric=True)(y, median),
                "coverage": EmpiricalCoverage()(y, ends),
                "mean quantile loss": PinballLoss(alpha=LEVELS.tolist())(y, levels),
            }
        )
    assert our_scores(windows) == pytest.approx(pd.DataFrame(scores).mean().to_dict(), rel=1e-6)


@pytest.mark.filterwarnings("ignore")  # darts's own
def test_scores_are_those_of_darts(windows):
    darts = pytest.importorskip("darts")
    from darts import metrics

    scores = []
    for past, actual, quantiles in zip(*windows, strict=True):
        at = pd.RangeIndex(PAST, PAST + AHEAD)
        y, train = darts.TimeSeries(at, actual), darts.TimeSeries(pd.RangeIndex(PAST), past)
        median = darts.TimeSeries(at, quantiles[:, 4])
        levels = darts.TimeSeries(at, quantiles, components=[f"0_q{level:.3f}" for level in LEVELS])
        scores.append(
            {
                "MASE": metrics.mase(y, median, train, m=SEASON),
                "sMAPE": metrics.smape(y, median) / 100,
                "coverage": metrics.mic(y, levels, q_interval=(0.1, 0.9)),
                "mean quantile loss": metrics.mql(y, levels, q=LEVELS.tolist()).mean() / 2,  # theirs is twice the loss
            }
        )
    assert our_scores(windows) == pytest.approx(pd.DataFrame(scores).mean().to_dict(), rel=1e-6)


def test_quantile_loss_is_that_of_scikit_learn(windows):
    from sklearn.metrics import mean_pinball_loss

    _, actual, quantiles = windows
    losses = [mean_pinball_loss(actual, quantiles[..., q], alpha=level) for q, level in enumerate(LEVELS)]
    assert our_scores(windows)["mean quantile loss"] == pytest.approx(np.mean(losses), rel=1e-6)


def test_missing_values_are_left_out(windows):
    past, actual, quantiles = (array.copy() for array in windows)
    actual[:, -4:] = np.nan
    actual[0] = np.nan
    kept = (actual[1:, :-4], quantiles[1:, :-4])
    assert weighted_quantile_loss(actual, quantiles, LEVELS) == pytest.approx(weighted_quantile_loss(*kept, LEVELS))
    np.testing.assert_allclose(coverage(actual, quantiles), coverage(*kept))
    scale = scales(past)
    assert mean_absolute_scaled_error(actual, quantiles[..., 4], scale) == pytest.approx(
        mean_absolute_scaled_error(kept[0], kept[1][..., 4], scale[1:])
    )


def test_seasonal_error():
    assert seasonal_error(np.array([1.0, 5, 2, 7, 4]), 2) == pytest.approx((1 + 2 + 2) / 3)
    assert seasonal_error(np.array([1.0, np.nan, 4, 5]), 1) == 1.0
    assert seasonal_error(np.array([1.0, 3.0, 4.0]), 12) == 1.5, "shorter than a season: lag 1"
    assert seasonal_error(np.full(9, 3.0), 2) == 0.0
    for nothing in ([], [1.0], [np.nan, np.nan, np.nan], [1.0, np.nan, 2.0]):
        assert np.isnan(seasonal_error(np.array(nothing), 1))


@pytest.mark.parametrize(
    ("past", "expected"),
    [([1.7e308, -1.7e308] * 9, np.finfo(float).max), ([8e307, 0.0] * 9, 8e307), ([5e-324, 0.0], 5e-324)],
)
def test_seasonal_error_of_the_largest_and_smallest_numbers(past, expected):
    with np.errstate(all="raise", under="ignore"):
        assert seasonal_error(np.array(past), 1) == expected


def test_series_without_a_scale_are_left_out_of_mase(windows):
    past, actual, quantiles = windows
    scale = scales(past)
    weird = scale.copy()
    weird[[0, 3]] = [0.0, np.nan]
    rest = [1, 2, 4, 5]
    assert mean_absolute_scaled_error(actual, quantiles[..., 4], weird) == pytest.approx(
        mean_absolute_scaled_error(actual[rest], quantiles[rest][..., 4], scale[rest])
    )


def test_a_perfect_forecast_scores_zero(windows):
    past, actual, _ = windows
    perfect = np.repeat(actual[..., None], 9, -1)
    assert weighted_quantile_loss(actual, perfect, LEVELS) == 0
    assert mean_absolute_scaled_error(actual, actual, scales(past)) == 0
    np.testing.assert_array_equal(coverage(actual, perfect), np.ones(9))
