"""Constraints through the forecaster: bounds of all kinds, whole numbers, closed times, what is refused."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone

from tsar import Constraints, Forecaster
from tsar.constraints import normalize_constraints
from tsar.errors import TsarError

HOURS = pd.date_range("2024-01-01", periods=24 * 35, freq="h")


def make_shops():
    rng = np.random.default_rng(0)
    sold = np.where((HOURS.hour < 8) | (HOURS.dayofweek == 6), 0, rng.poisson(6, size=len(HOURS)))
    parts = [("b", sold, 50.0), ("a", sold + 0.5, 4.0)]
    frames = [pd.DataFrame({"item_id": k, "timestamp": HOURS, "target": y, "room": r}) for k, y, r in parts]
    return pd.concat(frames, ignore_index=True)


@pytest.fixture
def forecaster(tiny_release):
    return Forecaster(str(tiny_release), prediction_length=48, quantile_levels=[0.1, 0.5, 0.9])


def numbers(forecast, item=None):
    forecast = forecast if item is None else forecast[forecast["item_id"] == item]
    return forecast[["predictions", "0.1", "0.5", "0.9"]].to_numpy()


@pytest.mark.slow
def test_bounds_by_number_item_and_column(forecaster):
    df = make_shops()
    raw = numbers(forecaster.fit(df).predict())
    assert raw.max() > 4 and raw.min() < 2
    for given in ({"upper": 4}, {"upper": {"a": 4.0, "b": 4.0}}, {"upper": "room"}, Constraints(upper=4.0)):
        fitted = clone(forecaster).set_params(constraints=given).fit(df)
        for answer in (fitted.predict(), fitted.predict(df), fitted.sample(num_samples=5)):
            assert answer.loc[answer["item_id"] == "a", "predictions"].max() <= 4
        quantiles = fitted.predict_quantiles()
        assert quantiles.at([0.999])[1].max() <= 4
        assert quantiles.quantiles[1].max() <= 4
    only_a = forecaster.predict(constraints={"upper": {"a": 4}})
    assert numbers(only_a, "a").max() <= 4 < numbers(only_a, "b").max()
    np.testing.assert_array_equal(numbers(forecaster.predict()), raw)


def test_a_bound_column_is_one_of_numbers_that_fit_has_read(forecaster):
    df = make_shops()
    fitted = forecaster.fit(df)
    for late in (lambda: fitted.predict(constraints={"upper": "room"}), clone_with(fitted, {"lower": "room"}).predict):
        with pytest.raises(TsarError, match=r"'room', a bound.*forecaster\.not_fitted"):
            late()
    assert numbers(fitted.predict(df, constraints={"upper": "room"}), "a").max() <= 4
    for column in ("item_id", "timestamp"):
        with pytest.raises(TsarError, match=r"option\.invalid"):
            fitted.predict(df, constraints={"lower": column})


def clone_with(fitted, constraints):
    """As `fitted`, with other constraints than those of its `fit`."""
    return copy.copy(fitted).set_params(constraints=constraints)


def test_last_value_of_a_bound_column_counts_and_is_saved(forecaster, tmp_path):
    df = make_shops()
    df.loc[df["timestamp"] == HOURS[-1], "room"] = [3.0, 2.0]
    df.loc[df["timestamp"] == HOURS[-2], "room"] = np.nan
    shuffled = pl.from_pandas(df.sample(frac=1, random_state=0))
    fitted = forecaster.set_params(constraints={"upper": "room", "lower": {"a": 0.25}}).fit(shuffled)
    highest = dict(fitted.predict().group_by("item_id").agg(pl.col("0.9").max()).iter_rows())
    assert highest["a"] <= 2.0 and highest["b"] <= 3.0
    fitted.save(tmp_path / "kept")
    again = Forecaster.load(tmp_path / "kept").predict()
    assert again.equals(fitted.predict())


def test_whole_numbers_where_the_history_has_nothing_else(forecaster):
    answer = forecaster.set_params(constraints={"integer": "auto"}).fit(make_shops()).predict()
    assert (numbers(answer, "b") % 1 == 0).all()
    assert (numbers(answer, "a") % 1 != 0).any()


def test_closed_hours_are_given_or_learned(forecaster):
    df = make_shops()
    for given in (
        Constraints(closed_hours=tuple(range(8)), closed_weekdays=(6,)),
        Constraints(closed="auto"),
    ):
        answer = clone(forecaster).set_params(constraints=given).fit(df).predict()
        shut = (answer["timestamp"].dt.hour < 8) | (answer["timestamp"].dt.dayofweek == 6)
        assert (numbers(answer[shut], "b") == 0).all()
        assert (numbers(answer[~shut], "b") != 0).any()
        if given.closed:
            assert (numbers(answer[shut], "a")[:, 0] != 0).all(), "that shop has half a sale at night"


@pytest.mark.parametrize(
    "given",
    [
        {"floor": 0},
        {"lower": "none", "upper": True},
        {"upper": float("nan")},
        {"upper": {"a": "many"}},
        {"closed_hours": [24]},
        {"closed_weekdays": 3},
        {"integer": "yes"},
        {"closed": True},
        5,
    ],
)
def test_bad_constraints_are_refused(forecaster, given):
    with pytest.raises(TsarError) as caught:
        forecaster.set_params(constraints=given).fit(make_shops())
    assert caught.value.code == "option.invalid"


def test_impossible_constraints_name_the_item(forecaster):
    fitted = forecaster.fit(make_shops())
    for given in ({"lower": 5, "upper": {"a": 4}}, {"lower": 0.2, "upper": {"a": 0.8}, "integer": True}):
        with pytest.raises(TsarError, match=r"item 'a'.*option\.invalid"):
            fitted.predict(constraints=given)
    with pytest.raises(TsarError, match=r"frame\.missing_column"):
        fitted.set_params(constraints={"upper": "space"}).fit(make_shops())


def test_integer_stamps_have_no_hours(forecaster):
    df = pd.DataFrame({"item_id": 1, "timestamp": range(50), "target": 1.0})
    with pytest.raises(TsarError, match="integers"):
        forecaster.set_params(constraints={"closed_hours": [1]}).fit(df).predict()


def test_normal_form_survives_json():
    given = Constraints(lower={1: 0.0}, upper="room", integer="auto", closed_hours=(1, 2))
    assert normalize_constraints(given.to_dict()) == given
