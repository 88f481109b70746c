"""Forecasts that are kept while backtests meet the same windows again."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.unit.test_covariates import make_forecaster, make_frame
from tsar import backtest
from tsar.decode import kept
from tsar.decode.kept import keep_forecasts, recall
from tsar.errors import TsarWarning


class LastValue:
    """Forecasts the last value of each series, and counts them."""

    def __init__(self) -> None:
        self.series = 0

    def __call__(self, values: np.ndarray, offsets: np.ndarray, prediction_length: int) -> np.ndarray:
        self.series += len(offsets) - 1
        return np.broadcast_to(values[offsets[1:] - 1, None, None], (len(offsets) - 1, prediction_length, 3)).copy()


VALUES, OFFSETS = np.array([1.0, 2.0, 3.0, 1.0, 2.0, 7.0]), np.array([0, 2, 3, 5, 6])  # the third is the first again


def test_only_what_is_new_is_forecast() -> None:
    decode = LastValue()
    recalled = recall(decode, "last value")
    with keep_forecasts():
        for horizon, forecast in ((4, 3), (4, 3), (5, 6)):
            np.testing.assert_array_equal(recalled(VALUES, OFFSETS, horizon), LastValue()(VALUES, OFFSETS, horizon))
            assert decode.series == forecast
        recalled(np.array([1.0, 2.0, 5.0]), np.array([0, 2, 3]), 4)
        assert decode.series == 7
        recall(decode, "another")(VALUES, OFFSETS, 4)
        assert decode.series == 10
    recalled(VALUES, OFFSETS, 4)
    assert decode.series == 14


def test_answers_are_the_callers_own() -> None:
    recalled = recall(LastValue(), "last value")
    with keep_forecasts():
        recalled(VALUES, OFFSETS, 2)[:] = np.nan
        assert np.isfinite(recalled(VALUES, OFFSETS, 2)).all()


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MOST_KEPT", 2 * 3 * 4)
    decode = LastValue()
    recalled = recall(decode, "last value")
    with keep_forecasts():
        for values, forecast in (([1.0, 2.0], 2), ([1.0, 2.0, 3.0], 3), ([1.0, 2.0, 3.0], 4)):
            answer = recalled(np.array(values), np.arange(len(values) + 1), 4)
            np.testing.assert_array_equal(answer[:, 0, 0], values)
            assert decode.series == forecast


def test_backtests_with_covariates_forecast_each_window_once(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = make_frame().assign(noise=np.random.default_rng(1).normal(size=840))
    series = 0

    def counted(decode: Any, identity: Any) -> Any:
        def count(values: np.ndarray, offsets: np.ndarray, prediction_length: int) -> np.ndarray:
            nonlocal series
            series += len(offsets) - 1
            return decode(values, offsets, prediction_length)

        return recall(count, identity)

    monkeypatch.setattr("tsar.inference.recall", counted)
    forecaster = make_forecaster(future_covariates=["driver", "noise"], covariate_method="ridge")
    with pytest.warns(TsarWarning, match="not used: 'noise'") as caught:
        quick = backtest(forecaster, frame, windows=4)
    assert len(caught) == 1
    shared, series = series, 0
    monkeypatch.setattr("tsar.backtesting.run.keep_forecasts", nullcontext)
    with pytest.warns(TsarWarning):
        slow = backtest(forecaster, frame, windows=4)
    assert shared < series / 4
    pd.testing.assert_frame_equal(quick.forecasts, slow.forecasts, rtol=1e-4)
