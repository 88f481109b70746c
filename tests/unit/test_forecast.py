"""Forecast: any level from the known ones, in order, exact where the law is normal."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from tsar.errors import OptionError
from tsar.forecast import Forecast, validate_levels

DECILES = np.arange(1, 10) / 10
LEVELS = st.floats(1e-6, 1 - 1e-6)


def normal_forecast(loc: float = 3.0, scale: float = 2.0, known: np.ndarray = DECILES) -> Forecast:
    return Forecast(np.tile(norm.ppf(known, loc, scale), (2, 4, 1)), known)


def test_known_levels_are_given_back_bit_for_bit():
    quantiles = np.sort(np.random.default_rng(0).normal(size=(3, 5, 9)) * 1e3, axis=-1)
    forecast = Forecast(quantiles, DECILES)
    np.testing.assert_array_equal(forecast.at([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]), quantiles)
    np.testing.assert_array_equal(forecast.median, quantiles[..., 4])
    np.testing.assert_array_equal(forecast.at([0.9, 0.1]), quantiles[..., [8, 0]])


def test_levels_that_went_through_float32_count_as_known():
    quantiles = np.arange(9.0)[None, None] ** 3
    np.testing.assert_array_equal(Forecast(quantiles, DECILES).at(DECILES + 1e-12), quantiles)


@pytest.mark.parametrize("known", [DECILES, np.array([0.25, 0.5, 0.75])])
def test_a_normal_law_is_reproduced_between_and_beyond_the_known_levels(known):
    wanted = np.array([0.001, 0.025, 0.15, 0.45, 0.5, 0.55, 0.85, 0.975, 0.999])
    expected = np.tile(norm.ppf(wanted, 3.0, 2.0), (2, 4, 1))
    np.testing.assert_allclose(normal_forecast(known=known).at(wanted.tolist()), expected, rtol=1e-9)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6), min_size=9, max_size=9).map(sorted),
    st.lists(LEVELS, min_size=2, max_size=20, unique=True).map(sorted),
)
@example([0.0] * 8 + [1.0], [0.85, 0.9 - 1e-12, 0.9, 0.9 + 1e-12, 0.95])
def test_quantiles_at_any_levels_are_in_order(quantiles, wanted):
    values = Forecast(np.array(quantiles)[None, None], DECILES).at(wanted)[0, 0]
    assert np.isfinite(values).all()
    assert (np.diff(values) >= 0).all()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=9, max_size=9).map(sorted), st.floats(0.1, 0.9))
def test_between_known_levels_values_stay_between_known_quantiles(quantiles, level):
    value = Forecast(np.array(quantiles)[None, None], DECILES).at([level]).item()
    place = min(max(int(np.searchsorted(DECILES, level, side="right")) - 1, 0), 7)
    assert quantiles[place] <= value <= quantiles[place + 1]


def test_equal_quantiles_stay_equal_everywhere():
    forecast = Forecast(np.full((1, 2, 9), 0.1), DECILES)
    np.testing.assert_array_equal(forecast.at([0.001, 0.33, 0.5, 0.999]), np.full((1, 2, 4), 0.1))


def test_missing_forecasts_stay_missing():
    quantiles = np.tile(DECILES, (2, 3, 1))
    quantiles[1] = np.nan
    values = Forecast(quantiles, DECILES).at([0.05, 0.5, 0.77])
    assert np.isfinite(values[0]).all()
    assert np.isnan(values[1]).all()


def test_no_items_is_a_forecast_too():
    assert Forecast(np.empty((0, 5, 9)), DECILES).at([0.5, 0.95]).shape == (0, 5, 2)


@pytest.mark.parametrize(
    "levels",
    [
        [0.0],
        [1.0],
        [-0.1],
        [1.5],
        [],
        [np.nan],
        [0.5, None],
        "many",
        ["low"],
        0.5,
        None,
        [[0.1, 0.9]],
        [0.5, np.inf],
        [0.5, 0.1, 0.5],
    ],
)
def test_bad_levels_are_refused(levels):
    with pytest.raises(OptionError) as caught:
        validate_levels(levels)
    assert caught.value.code == "option.quantile_level"
    with pytest.raises(OptionError):
        normal_forecast().at(levels)


def test_good_levels_come_back_as_an_array():
    np.testing.assert_array_equal(validate_levels((0.9, 0.1)), [0.9, 0.1])
    np.testing.assert_array_equal(validate_levels(np.array([0.5])), [0.5])
