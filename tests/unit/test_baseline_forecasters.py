"""The baselines behind the interface of `Forecaster`; numbers agree with the libraries that have them, too."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from statsmodels.datasets import co2, elec_equip

from tsar.baselines import ETS, ARNet, BoostedLags, Drift, SeasonalNaive, Theta
from tsar.errors import TsarError
from tsar.refining.classical import forecast_ets, forecast_theta

LEVELS = [0.1, 0.5, 0.9]
ALL = [SeasonalNaive(), Drift(), Theta(), ETS(), ARNet(), BoostedLags(engine="sklearn"), BoostedLags(engine="auto")]


def make_frame():
    turnover = elec_equip.load_pandas().data.iloc[:, 0].to_numpy(dtype=float)[-96:]
    carbon = co2.load_pandas().data["co2"].resample("MS").mean().to_numpy()[-110:]
    carbon[7] = np.nan
    parts = [
        pd.DataFrame(
            {"item_id": name, "timestamp": pd.date_range("2001-01-01", periods=len(y), freq="MS"), "target": y}
        )
        for name, y in (("turnover", turnover), ("carbon", carbon))
    ]
    return pd.concat(parts, ignore_index=True)


@pytest.mark.slow
@pytest.mark.parametrize("baseline", ALL, ids=lambda one: f"{type(one).__name__}-{getattr(one, 'engine', '')}")
def test_interface(baseline):
    if getattr(baseline, "engine", None) == "auto":
        pytest.importorskip("lightgbm")
    df = make_frame()
    copy = clone(baseline).set_params(prediction_length=12, quantile_levels=LEVELS)
    with pytest.raises(TsarError, match=r"forecaster\.not_fitted"):
        copy.predict()
    forecast = copy.fit(df).predict()
    assert forecast.columns.tolist() == ["item_id", "timestamp", "target_name", "predictions", "0.1", "0.5", "0.9"]
    assert forecast["item_id"].tolist() == ["turnover"] * 12 + ["carbon"] * 12
    numbers = forecast[["0.1", "0.5", "0.9"]].to_numpy()
    assert np.isfinite(numbers).all() and (np.diff(numbers) >= 0).all()
    np.testing.assert_allclose(forecast["predictions"], forecast["0.5"])
    np.testing.assert_allclose(forecast["predictions"], np.repeat([100, 350], 12), rtol=0.35)
    pd.testing.assert_frame_equal(copy.predict(df), forecast)
    other = copy.predict(pl.from_pandas(df), prediction_length=3)
    assert isinstance(other, pl.DataFrame) and len(other) == 6


def one_series(name):
    df = make_frame()
    return df.loc[df["item_id"] == name, "target"].to_numpy()


@pytest.mark.parametrize(("baseline", "model"), [(SeasonalNaive, "SeasonalNaive"), (Drift, "RandomWalkWithDrift")])
def test_bands_are_those_of_statsforecast(baseline, model):
    models = pytest.importorskip("statsforecast.models")
    y = one_series("turnover")
    options = {"season_length": 12} if model == "SeasonalNaive" else {}
    expected = getattr(models, model)(**options).forecast(y=y, h=24, level=[80])
    ours = baseline(prediction_length=24, quantile_levels=LEVELS).fit(make_frame()).predict().head(24)
    np.testing.assert_allclose(ours["predictions"], expected["mean"], rtol=1e-9)
    # they divide the squares by one less than their number, or fewer still
    widths = (ours["0.9"] - ours["0.1"]).to_numpy() / (expected["hi-80"] - expected["lo-80"])
    np.testing.assert_allclose(widths, 1.0, atol=0.02)


@pytest.mark.parametrize(("baseline", "function"), [(Theta, forecast_theta), (ETS, forecast_ets)])
def test_classical_ones_are_those_of_the_library(baseline, function):
    ours = baseline(prediction_length=12, quantile_levels=LEVELS).fit(make_frame()).predict()
    np.testing.assert_allclose(ours[["0.1", "0.5", "0.9"]][:12], function(one_series("turnover"), 12, 12, LEVELS))


def test_boosted_trees_follow_a_season_that_they_can_learn():
    stamps = np.arange(300)
    df = pd.DataFrame({"item_id": 1, "timestamp": stamps, "target": 10 * np.sin(2 * np.pi * stamps / 12)})
    forecast = BoostedLags(prediction_length=24, season_length=12, engine="sklearn").fit(df).predict()
    expected = 10 * np.sin(2 * np.pi * np.arange(300, 324) / 12)
    assert np.abs(forecast["predictions"] - expected).mean() < 1.0


@pytest.mark.parametrize(
    ("options", "code"),
    [({"season_length": 0}, "option.invalid"), ({"prediction_length": 0}, "option.prediction_length"),
     ({"quantile_levels": [2]}, "option.quantile_level")],
)  # fmt: skip
def test_refusals(options, code):
    with pytest.raises(TsarError) as caught:
        Drift(**options).fit(make_frame()).predict()
    assert caught.value.code == code


def test_one_season_of_history_is_repeated():
    week = pd.DataFrame({"timestamp": pd.date_range("2024-01-01", periods=7), "target": np.arange(7.0)})
    forecast = SeasonalNaive(id_column=None, prediction_length=9).fit(week).predict()
    assert forecast["predictions"].tolist() == [0, 1, 2, 3, 4, 5, 6, 0, 1]


def test_unknown_engine():
    with pytest.raises(TsarError, match="engine"):
        BoostedLags(engine="xgboost").fit(make_frame())
