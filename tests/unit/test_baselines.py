"""Seasonal naive: the last season again, as GluonTS's does, through gaps and short histories."""

import numpy as np
import pytest

from tsar.baselines import seasonal_naive

NAN = np.nan


@pytest.mark.parametrize(
    ("past", "season", "expected"),
    [
        ([1, 2, 3, 4, 5, 6], 3, [4, 5, 6, 4, 5, 6, 4]),
        ([1, 2, 3], 3, [1, 2, 3, 1, 2, 3, 1]),
        ([1, 2], 3, [2] * 7),
        ([1, 2, 3], 1, [3] * 7),
        ([7], 1, [7] * 7),
        ([1, 2, 3, 4, NAN, 6], 3, [4, 4, 6, 4, 4, 6, 4]),
        ([1, 2, 3, 4, 5, NAN], 3, [4, 5, 5, 4, 5, 5, 4]),
        ([NAN, NAN, 3, 4], 4, [3, 3, 3, 4, 3, 3, 3]),
        ([NAN, 5, NAN, NAN], 2, [5] * 7),
        ([NAN, NAN], 2, [NAN] * 7),
        ([], 2, [NAN] * 7),
    ],
)
def test_repeats_the_last_season(past, season, expected):
    np.testing.assert_array_equal(seasonal_naive(np.array(past, dtype=float), 7, season), expected)


@pytest.mark.filterwarnings("ignore:Using `json`-module")
@pytest.mark.parametrize("season", [1, 7, 12])
@pytest.mark.parametrize("horizon", [1, 7, 30])
def test_is_that_of_gluonts(season, horizon):
    import pandas as pd
    from gluonts.model.seasonal_naive import SeasonalNaivePredictor

    past = np.random.default_rng(0).normal(size=50)
    predictor = SeasonalNaivePredictor(prediction_length=horizon, season_length=season)
    entry = {"start": pd.Period("2024-01-01", freq="D"), "target": past.astype(np.float32)}
    expected = predictor.predict_item(entry).samples[0]
    np.testing.assert_allclose(seasonal_naive(past, horizon, season), expected, rtol=1e-6)


def test_history_is_left_alone():
    past = np.array([1.0, NAN, 3.0])
    forecast = seasonal_naive(past, 4, 3)
    forecast[:] = 0
    np.testing.assert_array_equal(past, [1.0, NAN, 3.0])
