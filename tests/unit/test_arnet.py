"""AR-Net: least squares without sparsity (statsmodels says so), few coefficients with it."""

import numpy as np
import pandas as pd
import pytest
from statsmodels.datasets import sunspots
from statsmodels.tsa.ar_model import AutoReg

from tsar.baselines import ARNet
from tsar.baselines.arnet import fit_autoregression
from tsar.errors import OptionError


def simulate(coefficients, n=3000, intercept=2.0, seed=0):
    rng = np.random.default_rng(seed)
    lags = len(coefficients)
    y = np.zeros(n + 200)
    for t in range(lags, len(y)):
        y[t] = intercept + np.dot(coefficients, y[t - lags : t][::-1]) + rng.normal()
    return y[200:]


@pytest.mark.parametrize("lags", [1, 3, 12])
@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_without_sparsity_is_least_squares(lags, scale):
    series = scale * sunspots.load_pandas().data["SUNACTIVITY"].to_numpy()
    fitted = fit_autoregression(series, lags)
    expected = AutoReg(series, lags, trend="c").fit()
    np.testing.assert_allclose(fitted.coefficients, expected.params[1:], rtol=1e-6)
    np.testing.assert_allclose(fitted.intercept, expected.params[0], rtol=1e-6)
    np.testing.assert_allclose(fitted.sigma**2, expected.sigma2, rtol=1e-6)


def test_forecast_and_its_spread_are_those_of_statsmodels():
    series = sunspots.load_pandas().data["SUNACTIVITY"].to_numpy()
    prediction = AutoReg(series, 9, trend="c").fit().get_prediction(len(series), len(series) + 11)
    mean, deviation = fit_autoregression(series, 9).forecast(series, 12)
    np.testing.assert_allclose(mean, prediction.predicted_mean, rtol=1e-8)
    np.testing.assert_allclose(deviation**2, prediction.var_pred_mean, rtol=1e-6)


def test_recovers_known_coefficients():
    true = [0.5, -0.3, 0.2]
    np.testing.assert_allclose(fit_autoregression(simulate(true), 3).coefficients, true, atol=0.05)


@pytest.mark.parametrize("seed", range(5))
def test_sparse_fit_finds_the_zeros(seed):
    true = np.zeros(24)
    true[[0, 11, 23]] = 0.3, 0.25, 0.3
    series = simulate(true, seed=seed)
    sparse = fit_autoregression(series, 24, sparsity=0.03).coefficients
    assert np.flatnonzero(sparse).tolist() == [0, 11, 23]
    np.testing.assert_allclose(sparse, true, atol=0.06)
    assert np.count_nonzero(fit_autoregression(series, 24).coefficients) == 24


def test_frames_of_any_history():
    days = pd.date_range("2024-01-01", periods=60, freq="D")
    parts = {
        "wave": np.sin(np.arange(60)),
        "constant": np.full(60, 3.0),
        "explosive": 1.5 ** np.arange(60),
        "short": np.array([1.0, 2.0]),
    }
    frames = [pd.DataFrame({"item_id": k, "timestamp": days[: len(v)], "target": v}) for k, v in parts.items()]
    forecast = ARNet(prediction_length=100).fit(pd.concat(frames)).predict()
    numbers = forecast.select_dtypes("number")
    assert np.isfinite(numbers).all().all()
    assert (np.diff(numbers.iloc[:, 1:], axis=1) >= 0).all()
    assert set(forecast.loc[forecast["item_id"] == "constant", "0.9"]) == {3.0}


@pytest.mark.parametrize("options", [{"lags": 0}, {"lags": 1.5}, {"lags": True}, {"sparsity": 0.0}, {"sparsity": 2}])
def test_options_are_checked(options):
    with pytest.raises(OptionError):
        ARNet(**options).fit(pd.DataFrame({"item_id": 1, "timestamp": range(9), "target": 1.0}))
