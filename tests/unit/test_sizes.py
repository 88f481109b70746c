"""What goes beyond the bare model works on series of any size: a power of two changes nothing but the unit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tsar import Forecaster
from tsar.baselines import Drift, SeasonalNaive
from tsar.refining.powers import near_one
from tsar.tasks.classify import TimeSeriesClassifier

SIZE, HORIZON = 200, 7
UNITS = [2.0**996, 2.0**-996]


def make_frame(unit: float, seed: int = 0) -> pd.DataFrame:
    """Three items with a season, a driver known ahead and a channel that runs three steps ahead of the target."""
    rng = np.random.default_rng(seed)
    parts = []
    for item in range(3):
        driver, leader = rng.normal(size=(2, SIZE))
        season = np.sin(2 * np.pi * np.arange(SIZE) / 7)
        target = 10 + 3 * season + 2 * driver + 3 * np.roll(leader, 3) + 0.3 * rng.normal(size=SIZE)
        parts.append(
            pd.DataFrame(
                {
                    "item_id": item,
                    "timestamp": pd.date_range("2024-01-01", periods=SIZE),
                    "target": unit * target,
                    "driver": unit * driver,
                    "leader": unit * leader,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def forecast(forecaster: Any, frame: pd.DataFrame, **options: Any) -> np.ndarray:
    is_late = frame.groupby("item_id").cumcount(ascending=False) < HORIZON
    if getattr(forecaster, "future_covariates", ()):
        options["future_df"] = frame.loc[is_late, ["item_id", "timestamp", *forecaster.future_covariates]]
    answer = forecaster.fit(frame[~is_late]).predict(**options)
    return answer.drop(columns=["item_id", "timestamp", "target_name"]).to_numpy()


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(
    ("kind", "options", "call"),
    [
        (Forecaster, {"future_covariates": ["driver"], "covariate_method": "ridge"}, {}),
        (Forecaster, {"target": ["target", "leader"], "channel_adapter": "related"}, {}),
        (Forecaster, {"follow_period": False, "context_length": 32}, {"neighbours": 3}),
        (SeasonalNaive, {}, {}),
        (Drift, {}, {}),
    ],
)
def test_forecasts_are_those_of_numbers_near_one(kind: Any, options: Any, call: Any, unit: float) -> None:
    forecaster = kind(prediction_length=HORIZON, **options)
    near, far = (forecast(forecaster, make_frame(one), **call) for one in (1.0, unit))
    np.testing.assert_array_equal(far, near * unit)
    if options and kind is Forecaster:  # the option does something here
        plain = Forecaster(prediction_length=HORIZON, **{k: v for k, v in options.items() if k != "channel_adapter"})
        plain.set_params(future_covariates=())
        assert not np.array_equal(forecast(plain, make_frame(1.0)), near)


def test_classes_are_those_of_numbers_near_one() -> None:
    series = make_frame(1.0)["target"].to_numpy().reshape(-1, 50)
    classes = np.arange(len(series)) % 2
    near, far = (
        TimeSeriesClassifier().fit(list(series * unit), classes).predict_proba(list(series * unit))
        for unit in (1.0, UNITS[0])
    )
    np.testing.assert_allclose(far, near, rtol=1e-9)


def test_near_one_rounds_nothing() -> None:
    values = np.array([[3.0, 1e-300], [-5e300, np.nan], [0.5, 1e-320]])
    near, exponents = near_one(values, 0)
    np.testing.assert_array_equal(np.ldexp(near, exponents), values)
    assert (np.nanmax(np.abs(near), 0) < 1).all()
    assert (np.nanmax(np.abs(near), 0) >= 0.5).all()
    assert near_one(np.empty(0))[1] == 0
    assert near_one(np.zeros(3))[1] == 0
