"""Adaptation at test time: a copy moves, the model stays, far horizons stay bounded."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from tsar import Forecaster, load_model
from tsar.errors import OptionError
from tsar.training.adapt import adapt


def make_series(length=1500, seed=0):
    """A day with two humps, repeated with noise on a slow drift."""
    rng = np.random.default_rng(seed)
    hour = np.arange(length)
    day = np.sin(2 * np.pi * hour / 24) + 0.6 * np.sin(4 * np.pi * hour / 24 + 1)
    return 20 + 4 * day + 0.05 * rng.normal(size=length).cumsum() + 0.5 * rng.normal(size=length)


def make_frame(y):
    stamps = pd.date_range("2024-01-01", periods=len(y), freq="h")
    return pd.DataFrame({"item_id": "a", "timestamp": stamps, "target": y})


@pytest.fixture
def forecaster():
    return Forecaster(prediction_length=24, context_length=64, symmetrize=False, follow_period=False)


def test_it_changes_the_forecast_the_same_each_time_and_nothing_else(forecaster):
    forecaster.fit(make_frame(make_series()[:300]))
    weights = {name: value.clone() for name, value in forecaster.released_decoder().state_dict().items()}
    known = set(vars(forecaster))
    plain, adapted = forecaster.predict(), forecaster.predict(adapt_steps=1)
    assert (plain["predictions"] != adapted["predictions"]).all()
    pd.testing.assert_frame_equal(forecaster.predict(adapt_steps=1), adapted)
    pd.testing.assert_frame_equal(forecaster.predict(), plain)
    assert set(vars(forecaster)) == known
    assert all(torch.equal(value, weights[name]) for name, value in forecaster.released_decoder().state_dict().items())


def test_only_norms_and_biases_move():
    base, y = load_model("tsar-tiny"), make_series(400)
    adapted = adapt(base, y, np.array([0, len(y)]), steps=2, prediction_length=24, context_length=128)
    before, after = base.state_dict(), adapted.state_dict()
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert moved
    assert all("norm" in name or name.endswith("bias") for name in moved), moved
    assert not any(parameter.requires_grad for parameter in adapted.parameters())


@pytest.mark.slow
def test_it_learns_the_style_of_a_series():
    """On a strange shape the loss falls, and so does the error of later points, which it has not seen."""
    rng = np.random.default_rng(4)
    profile = rng.normal(size=37)
    y = 5 + profile[np.arange(1600) % 37] + 0.02 * rng.normal(size=1600)
    forecaster = Forecaster(prediction_length=37, context_length=256, symmetrize=False, follow_period=False)
    forecaster.fit(pd.DataFrame({"item_id": 0, "timestamp": range(1526), "target": y[:1526]}))
    error = [np.abs(forecaster.predict(adapt_steps=n)["predictions"] - y[1526:1563]).mean() for n in (0, 20)]
    assert error[1] < 0.98 * error[0], error


def test_series_too_short_to_learn_from_are_forecast_as_they_were(forecaster):
    frame = make_frame([1.0, 2.0, 3.0])
    pd.testing.assert_frame_equal(forecaster.predict(frame, adapt_steps=5), forecaster.predict(frame))


@pytest.mark.parametrize("steps", [-1, 1.5, True, "auto"])
def test_steps_are_checked(forecaster, steps):
    with pytest.raises(OptionError, match="adapt_steps"):
        forecaster.predict(make_frame(make_series(100)), adapt_steps=steps)


@pytest.mark.slow
def test_the_error_does_not_blow_up_to_720_steps():
    y = make_series(2300)
    forecaster = Forecaster(prediction_length=720, context_length=512, symmetrize=False, follow_period=False)
    forecaster.fit(make_frame(y[:1580]))
    actual = y[1580:2300].reshape(6, 120)
    naive = np.abs(np.tile(y[1556:1580], 30).reshape(6, 120) - actual).mean(1)
    for steps in (0, 20):
        median = forecaster.predict(adapt_steps=steps)["predictions"].to_numpy().reshape(6, 120)
        error = np.abs(median - actual).mean(1)
        assert np.isfinite(error).all()
        assert (error < 1.5 * naive + 1.0).all(), (steps, error, naive)


@pytest.mark.slow
def test_the_error_does_not_blow_up_on_a_real_series():
    """Carbon dioxide on Mauna Loa by week (statsmodels), 720 weeks ahead: a trend and a season, with gaps."""
    co2 = pytest.importorskip("statsmodels.datasets").co2.load_pandas().data["co2"].to_numpy(dtype=float)
    past, actual = co2[:-720], co2[-720:].reshape(6, 120)
    frame = pd.DataFrame({"item_id": "co2", "timestamp": range(len(past)), "target": past})
    forecaster = Forecaster(prediction_length=720, symmetrize=False, follow_period=False).fit(frame)
    naive = np.nanmean(np.abs(np.nanmean(past[-52:]) - actual), 1)
    for steps in (0, 10):
        median = forecaster.predict(adapt_steps=steps)["predictions"].to_numpy().reshape(6, 120)
        error = np.nanmean(np.abs(median - actual), 1)
        assert np.isfinite(error).all()
        assert (error < 1.2 * naive + 1.0).all(), (steps, error, naive)
