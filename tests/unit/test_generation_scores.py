"""Scores of generated series: chance for the same law, certainty for another, whatever form they come in."""

import numpy as np
import pandas as pd
import pytest
from statsmodels.tsa.arima_process import ArmaProcess

from tsar.errors import OptionError
from tsar.tasks.generation_scores import discriminative_score, features_of, predictive_score


def autoregression(n, seed, coefficient=0.8):
    random = np.random.default_rng(seed)
    process = ArmaProcess(np.array([1, -coefficient]), np.array([1.0]))
    return process.generate_sample((n, 200), axis=1, distrvs=random.standard_normal)


REAL = autoregression(40, 0)


@pytest.mark.slow
def test_the_same_law_is_chance_and_noise_is_certain():
    scores = [discriminative_score(REAL, autoregression(40, seed)) for seed in range(1, 6)]
    assert abs(np.mean(scores)) < 0.08
    noise = np.random.default_rng(9).normal(size=REAL.shape) * REAL.std(1, keepdims=True)
    assert discriminative_score(REAL, noise) > 0.45
    assert discriminative_score(REAL, autoregression(40, 1, 0.7)) > 0.1


def test_a_model_trained_on_the_same_law_is_as_good():
    assert predictive_score(REAL, autoregression(40, 1), lags=4) == pytest.approx(1.0, abs=0.01)
    noise = np.random.default_rng(9).normal(size=REAL.shape)
    assert predictive_score(REAL, noise, lags=4) > 1.1


def test_frames_and_arrays_give_one_number():
    df = pd.DataFrame({"item_id": np.repeat(np.arange(40), 200), "timestamp": np.tile(np.arange(200), 40)})
    df["target"] = REAL.ravel()
    other = autoregression(40, 1)
    assert discriminative_score(df, other) == discriminative_score(list(REAL), other)
    assert predictive_score(df, other) == predictive_score(REAL, other)


def test_missing_values_are_interpolated_and_constants_have_features():
    holes = REAL.copy()
    holes[:, 50] = np.nan
    assert np.isfinite(discriminative_score(holes, REAL))
    assert np.isfinite(features_of([np.zeros(20), np.full(20, 1e300), np.arange(8.0)])).all()


@pytest.mark.parametrize(
    "call",
    [
        lambda: discriminative_score(REAL[:9], REAL),
        lambda: predictive_score(REAL, REAL[:, :7]),
        lambda: predictive_score(REAL, REAL, lags=100),
        lambda: predictive_score(REAL, REAL, lags=0),
    ],
)
def test_too_little_is_refused(call):
    with pytest.raises(OptionError) as caught:
        call()
    assert caught.value.code == "option.invalid"
