"""Covariates in the forecaster: used where they help, left out where they do not, and never seen after the cutoff."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.special import ndtri

from tsar import Forecaster
from tsar.covariates.effect import _choose_spread
from tsar.covariates.regression import Rows, fit_ridge
from tsar.covariates.surprise import find_leads, shift_by_lead
from tsar.errors import CovariateError, NotFittedError, OptionError, TsarWarning
from tsar.frame import calendar_columns

HORIZON = 12
SIZE = 420


def make_frame(seed: int = 0, items: int = 2) -> pd.DataFrame:
    """Series of a season and of a driver that nobody can foresee."""
    rng = np.random.default_rng(seed)
    parts = []
    for item in range(items):
        driver = rng.normal(size=SIZE)
        season = np.sin(2 * np.pi * np.arange(SIZE) / 12)
        target = 20 * (item + 1) * (5 + season + 0.5 * driver) + rng.normal(size=SIZE)
        stamps = pd.date_range("2000-01-01", periods=SIZE, freq="D")
        parts.append(pd.DataFrame({"item_id": f"item {item}", "timestamp": stamps, "target": target, "driver": driver}))
    return pd.concat(parts, ignore_index=True)


def split(frame: pd.DataFrame, steps: int = HORIZON) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cut the last steps of every item off."""
    is_late = frame.groupby("item_id").cumcount(ascending=False) < steps
    return frame[~is_late].reset_index(drop=True), frame[is_late].reset_index(drop=True)


def error_of(forecast: pd.DataFrame, actual: pd.DataFrame) -> float:
    return float(np.abs(forecast["predictions"].to_numpy() - actual["target"].to_numpy()).mean())


def make_forecaster(**options: Any) -> Forecaster:
    return Forecaster(**{"prediction_length": HORIZON, "context_length": 128, "symmetrize": False} | options)


@pytest.fixture(scope="module")
def halves() -> tuple[pd.DataFrame, pd.DataFrame]:
    return split(make_frame())


@pytest.mark.parametrize("method", ["ridge", pytest.param("gradient_boosting", marks=pytest.mark.slow), "auto"])
def test_a_covariate_that_drives_the_target_is_used(halves: tuple[pd.DataFrame, pd.DataFrame], method: str) -> None:
    past, future = halves
    plain = error_of(make_forecaster().fit(past).predict(), future)
    driven = make_forecaster(future_covariates=["driver"], covariate_method=method).fit(past)
    forecast = driven.predict(future_df=future.drop(columns="target"))
    assert error_of(forecast, future) < (0.3 if method == "ridge" else 0.7) * plain
    assert driven.covariate_effect_.kept.all() and driven.covariate_effect_.gain > 0.3
    assert (driven.covariate_effect_.item_weights > 0.5).all()
    assert driven.covariate_effect_.spread < 0.9


def test_a_covariate_without_meaning_changes_nothing(halves: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    past, future = halves
    shuffled = past.assign(driver=np.random.default_rng(1).permutation(past["driver"]))
    with pytest.warns(TsarWarning, match="not used: 'driver'"):
        fitted = make_forecaster(future_covariates=["driver"]).fit(shuffled)
    forecast = fitted.predict(future_df=future.drop(columns="target"))
    pd.testing.assert_frame_equal(forecast, make_forecaster().fit(past).predict())


@pytest.mark.slow
def test_trees_do_not_take_a_bias_of_the_model_for_an_effect() -> None:
    stamps = pd.date_range("2000-01-01", periods=900, freq="h")
    rng = np.random.default_rng(0)
    target = rng.exponential(size=900) ** 2  # a skewed noise: its median is wrong in the mean, and so is the forecast
    past = pd.DataFrame({"item_id": "a", "timestamp": stamps, "target": target, "noise": rng.normal(size=900)})
    with pytest.warns(TsarWarning, match="not used: 'noise'"):
        make_forecaster(future_covariates=["noise"], covariate_method="gradient_boosting").fit(past)


def test_useless_covariates_are_dropped_and_useful_ones_kept(halves: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    noise = np.random.default_rng(2).normal(size=(len(halves[0]), 2))
    past = halves[0].assign(a=noise[:, 0], b=noise[:, 1])
    forecaster = make_forecaster(future_covariates=["a", "driver", "b"], covariate_method="ridge")
    with pytest.warns(TsarWarning, match="not used: '[ab]'"):
        effect = forecaster.fit(past).covariate_effect_
    assert effect.kept[1]
    assert effect.importance[1] > 0.3 > 0.02 > np.nanmax(effect.importance[[0, 2]])


def test_columns_with_an_equals_sign_are_columns_of_their_own(halves: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    """Indicators of one column go together, though; parts of the calendar, too."""
    rng = np.random.default_rng(2)
    past = halves[0].rename(columns={"driver": "a=b"}).assign(**{"a=c": rng.normal(size=len(halves[0]))})
    past["a"] = rng.choice(["x", "y=z"], size=len(past))
    names = ["a=b", "a=c", "a"]
    with pytest.warns(TsarWarning, match="not used: 'a=c'"):
        fitted = make_forecaster(future_covariates=names, covariate_method="ridge", calendar=True).fit(past)
    effect = fitted.covariate_effect_
    assert effect.names[:4] == ("a=b", "a=c", "a=x", "a=y=z")
    assert effect.columns[:4] == ("a=b", "a=c", "a", "a")
    assert effect.columns[4:11] == ("calendar:weekday",) * 7
    assert effect.kept[:2].tolist() == [True, False]
    assert "a=c" in effect.dropped
    assert "a=b" not in effect.dropped


def test_a_leading_past_covariate_is_found_and_used() -> None:
    frame = make_frame()
    frame["signal"] = frame.groupby("item_id")["driver"].shift(-5).fillna(0.0)  # what drives comes five days later
    past, future = split(frame)
    plain = np.abs(make_forecaster().fit(past).predict()["predictions"] - future["target"]).to_numpy().reshape(2, -1)
    fitted = make_forecaster(past_covariates=["signal"], covariate_method="ridge").fit(past.drop(columns="driver"))
    assert fitted.covariate_effect_.leads.tolist() == [5]
    led = np.abs(fitted.predict()["predictions"] - future["target"]).to_numpy().reshape(2, -1)
    assert led[:, :5].mean() < 0.4 * plain[:, :5].mean()


def test_the_target_after_the_cutoff_is_not_seen(halves: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    past, future = halves
    fitted = make_forecaster(future_covariates=["driver"]).fit(past)
    poisoned = future.assign(target=np.inf)
    pd.testing.assert_frame_equal(
        fitted.predict(future_df=poisoned), fitted.predict(future_df=future.drop(columns="target"))
    )


@pytest.mark.slow
def test_order_kind_and_route_of_the_frames_do_not_matter(halves: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    pl = pytest.importorskip("polars")
    past, future = halves
    forecaster = make_forecaster(future_covariates=["driver"], covariate_method="ridge")
    expected = forecaster.fit(past).predict(future_df=future)
    mixed = forecaster.predict(past.sample(frac=1, random_state=0), future_df=future.sample(frac=1, random_state=1))
    order = expected["item_id"].unique()
    mixed = pd.concat([mixed[mixed["item_id"] == item] for item in order], ignore_index=True)
    pd.testing.assert_frame_equal(mixed, expected)
    polars = forecaster.predict(pl.from_pandas(past), future_df=pl.from_pandas(future))
    np.testing.assert_allclose(polars["predictions"].to_numpy(), expected["predictions"])


def test_categories_and_static_covariates() -> None:
    frame = make_frame(items=4)
    rng = np.random.default_rng(3)
    weather = rng.choice(["dry", "rain", None], len(frame), p=[0.6, 0.3, 0.1])
    frame["target"] += np.where(weather == "rain", -60.0, 0.0)
    frame = frame.assign(
        weather=weather, region=frame["item_id"].map(lambda name: "north" if name > "item 1" else "south")
    )
    past, future = split(frame)
    plain = error_of(make_forecaster().fit(past).predict(), future)
    fitted = make_forecaster(
        future_covariates=["driver", "weather"], static_covariates=["region"], covariate_method="ridge"
    ).fit(past)
    assert fitted.covariate_effect_.names == ("driver", "weather=dry", "weather=rain")
    assert fitted.panel_.covariates is not None
    assert fitted.panel_.covariates.static.tolist() == [[0, 0, 1, 1], [1, 1, 0, 0]]
    assert error_of(fitted.predict(future_df=future), future) < 0.5 * plain


def test_missing_values_in_covariates_are_no_surprise(halves: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    past, future = halves
    forecaster = make_forecaster(future_covariates=["driver"], covariate_method="ridge").fit(past)
    unknown = forecaster.predict(future_df=future.assign(driver=np.nan))["predictions"]
    np.testing.assert_allclose(unknown, make_forecaster().fit(past).predict()["predictions"])
    holed = past.assign(driver=past["driver"].where(np.arange(len(past)) % 5 > 0))
    assert np.isfinite(
        make_forecaster(future_covariates=["driver"]).fit(holed).predict(future_df=future)["predictions"]
    ).all()


def test_saved_and_pickled_forecasters_answer_alike(halves: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Any) -> None:
    past, future = halves
    past = past.assign(kind=np.where(past["item_id"] == "item 0", "a", "b"))
    fitted = make_forecaster(future_covariates=["driver"], static_covariates=["kind"]).fit(past)
    expected = fitted.predict(future_df=future)
    pd.testing.assert_frame_equal(pickle.loads(pickle.dumps(fitted)).predict(future_df=future), expected)
    fitted.save(tmp_path / "saved")
    pd.testing.assert_frame_equal(Forecaster.load(tmp_path / "saved").predict(future_df=future), expected)


def test_a_gap_forecasts_later_steps(halves: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    past, _ = halves
    whole = make_forecaster(prediction_length=10).fit(past).predict()
    late = make_forecaster(prediction_length=7, gap=3).fit(past).predict()
    kept = whole[whole.groupby("item_id").cumcount() >= 3].reset_index(drop=True)
    pd.testing.assert_frame_equal(late, kept)


def test_short_series_and_other_items_are_served() -> None:
    frame = make_frame()
    short = frame[frame["item_id"] == "item 0"].iloc[:9].assign(item_id="short")
    past, future = split(frame)
    ahead = pd.DataFrame({"item_id": "short", "timestamp": pd.date_range("2000-01-10", periods=HORIZON), "driver": 1.0})
    fitted = make_forecaster(future_covariates=["driver"]).fit(pd.concat([past, short]))
    forecast = fitted.predict(future_df=pd.concat([future.drop(columns="target"), ahead]))
    assert np.isfinite(forecast["predictions"]).all() and len(forecast) == 3 * HORIZON


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda frame: None, "covariate.missing_future"),
        (lambda frame: frame.iloc[:-1], "covariate.short_future"),
        (lambda frame: frame.drop(columns="driver"), "frame.missing_column"),
        (lambda frame: frame.assign(extra=1), "covariate.unexpected_column"),
        (lambda frame: frame.assign(driver=np.inf), "covariate.bad_column"),
        (lambda frame: frame.assign(driver="high"), "covariate.bad_column"),
        (lambda frame: pd.concat([frame, frame.iloc[:1]]), "frame.duplicate_timestamp"),
        (lambda frame: frame.assign(timestamp=np.arange(len(frame))), "frame.bad_timestamp"),
    ],
)
def test_a_future_that_does_not_fit_is_refused(
    halves: tuple[pd.DataFrame, pd.DataFrame], change: Any, code: str
) -> None:
    fitted = make_forecaster(future_covariates=["driver"], covariate_method="ridge").fit(halves[0])
    with pytest.raises((CovariateError, ValueError)) as caught:
        fitted.predict(future_df=change(halves[1].drop(columns="target")))
    assert caught.value.code == code  # type: ignore[union-attr]


def test_covariates_that_fit_has_not_read_are_refused(halves: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    past, future = halves[0], halves[1].drop(columns="target")
    plain = make_forecaster().fit(past).set_params(future_covariates=["driver"])
    driven = make_forecaster(future_covariates=["driver"]).fit(past).set_params(future_covariates=[])
    for call in (lambda: plain.predict(future_df=future), driven.predict):
        with pytest.raises(NotFittedError, match="Other covariates"):
            call()


def test_the_spread_is_judged_at_the_levels_of_the_model() -> None:
    levels = np.array([0.01, 0.5, 0.99])  # a normal law of deviation 1, and errors of deviation 0.7
    quantiles = np.broadcast_to(ndtri(levels), (4000, 1, 3))
    errors = 0.7 * np.random.default_rng(0).normal(size=(4000, 1))
    assert _choose_spread(quantiles, levels, errors, np.zeros_like(errors)) == pytest.approx(0.7)


def test_an_unknown_category_is_named(halves: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    past, future = (half.assign(weather=np.where(half["driver"] > 0, "dry", "rain")) for half in halves)
    fitted = make_forecaster(future_covariates=["weather"]).fit(past)
    with pytest.raises(CovariateError, match="'snow'") as caught:
        fitted.predict(future_df=future.assign(weather="snow")[["item_id", "timestamp", "weather"]])
    assert caught.value.code == "covariate.unknown_category"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"static_covariates": ["driver"]}, "covariate.not_static"),
        ({"future_covariates": ["label"]}, "covariate.too_many_categories"),
        ({"future_covariates": "driver"}, "option.invalid"),
        ({"future_covariates": ["driver"], "past_covariates": ["driver"]}, "option.invalid"),
        ({"past_covariates": ["absent"]}, "frame.missing_column"),
        ({"covariate_method": "magic"}, "option.invalid"),
        ({"gap": -1}, "option.invalid"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    halves: tuple[pd.DataFrame, pd.DataFrame], options: dict[str, Any], code: str
) -> None:
    frame = halves[0].assign(label=[f"row {row}" for row in range(len(halves[0]))])
    with pytest.raises(ValueError) as caught:
        make_forecaster(**options).fit(frame)
    assert caught.value.code == code  # type: ignore[attr-defined]


def test_a_future_that_no_option_names_is_refused(halves: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    with pytest.raises(CovariateError, match="future_covariates"):
        make_forecaster().fit(halves[0]).predict(future_df=halves[1])


@pytest.mark.slow
def test_holidays_are_known_ahead() -> None:
    pytest.importorskip("holidays")
    stamps = pd.date_range("2018-01-01", "2023-12-20", freq="D")
    rng = np.random.default_rng(0)
    import holidays

    closed = pd.Index(stamps.date).isin(list(holidays.country_holidays("DE", years=range(2018, 2025))))
    target = 100 + 10 * np.sin(2 * np.pi * np.arange(len(stamps)) / 7) - 60 * closed + rng.normal(size=len(stamps))
    past = pd.DataFrame({"item_id": 1, "timestamp": stamps, "target": target})
    forecast = make_forecaster(holidays="DE", context_length=256).fit(past).predict()
    by_day = forecast.set_index("timestamp")["predictions"]
    assert by_day["2023-12-25"] < 70 and by_day["2023-12-26"] < 70 < by_day["2023-12-28"]


def test_calendar_columns_of_days_and_months() -> None:
    for freq, names in (("D", "calendar:weekday=0"), ("MS", "calendar:working_days")):
        stamps = pd.date_range("2010-01-01", periods=150, freq=freq)
        frame = pd.DataFrame({"item_id": "a", "timestamp": stamps, "target": np.random.default_rng(0).normal(size=150)})
        with pytest.warns(TsarWarning):
            fitted = make_forecaster(calendar=True, covariate_method="ridge").fit(frame)
        assert names in fitted.covariate_effect_.names
        assert len(fitted.predict()) == HORIZON
    with pytest.raises(OptionError, match="integers"):
        make_forecaster(calendar=True).fit(frame.assign(timestamp=np.arange(150)))


@pytest.mark.parametrize(
    ("freq", "first_stamp", "days"),
    [
        ("MS", "2019-02-01", [28, 31]),
        ("BME", "2019-02-28", [28, 31]),
        ("2MS", "2019-02-01", [59, 61]),  # February and March
        ("2ME", "2019-02-28", [59, 61]),  # January and February
        ("QE-JAN", "2019-01-31", [92, 89]),  # November to January, February to April
        ("QS-NOV", "2019-11-01", [92, 90]),
        ("YS-APR", "2019-04-01", [366, 365]),  # with 29 February 2020
        ("YE-MAR", "2019-03-31", [365, 366]),
    ],
)
def test_a_calendar_counts_the_period_that_a_stamp_starts_or_ends(freq: str, first_stamp: str, days: list[int]) -> None:
    stamps = pd.date_range(first_stamp, periods=2, freq=freq)
    names, values = calendar_columns(stamps, freq, calendar=True, holidays=None)
    assert names == ("calendar:days", "calendar:working_days")
    assert values[0].tolist() == days


def test_a_calendar_goes_beyond_nanoseconds() -> None:
    stamps = pd.DatetimeIndex(np.array(["2300-02-01", "2304-02-01"], dtype="M8[s]"))
    assert calendar_columns(stamps, "MS", calendar=True, holidays=None)[1][0].tolist() == [28, 29]


def test_leads_are_found_and_delays_are_exact() -> None:
    rng = np.random.default_rng(0)
    driver = rng.normal(size=400).cumsum()
    target = np.concatenate([np.zeros(7), driver[:-7]]) + 0.1 * rng.normal(size=400)
    offsets = np.array([0, 400])
    assert find_leads(target, offsets, np.stack([driver, rng.normal(size=400)]), 1).tolist() == [7, 0]
    delayed, ahead = shift_by_lead(driver, offsets, 7)
    np.testing.assert_array_equal(delayed[7:], driver[:-7])
    np.testing.assert_array_equal(ahead[0], driver[-7:])
    assert np.isnan(delayed[:7]).all()


def test_pooling_goes_from_own_coefficients_to_common_ones() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 5, 1))
    items = np.repeat([0, 1], 20)
    target = features[..., 0] * np.where(items == 0, 1.0, -0.5)[:, None]
    rows = Rows(items=items, target=target, features=features)
    own, common = (fit_ridge(rows, 2, pooling).coefficients[:, 0] for pooling in (1e-9, np.inf))
    np.testing.assert_allclose(own[:2], [1.0, -0.5], atol=1e-6)
    assert common[0] == common[1] == common[2]
    assert 0 < common[0] < 0.5


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_the_future_may_lie_beyond_what_nanoseconds_can_say(unit: Any) -> None:
    stamps = pd.date_range("2150-01-01", periods=160, freq="YS", unit=unit)
    frame = pd.DataFrame({"item_id": "a", "timestamp": stamps, "target": np.sin(np.arange(160.0)), "driver": 1.0})
    past, future = frame[:-4], frame[-4:].drop(columns="target")
    forecaster = Forecaster(prediction_length=4, future_covariates=["driver"], freq="YS")
    with pytest.warns(TsarWarning, match="driver"):
        forecaster.fit(past)
    assert forecaster.predict(future_df=future)["timestamp"].tolist() == future["timestamp"].tolist()
    with pytest.raises(CovariateError, match="lacks 1 of 4 rows"):
        forecaster.predict(future_df=future[1:])


def test_the_future_may_have_another_resolution_than_the_history() -> None:
    past, future = split(make_frame())
    forecaster = make_forecaster(future_covariates=["driver"], covariate_method="ridge").fit(past)
    expected = forecaster.predict(future_df=future)
    coarse = future.assign(timestamp=future["timestamp"].astype("datetime64[s]"))
    pd.testing.assert_frame_equal(forecaster.predict(future_df=coarse), expected)
    late = future.assign(timestamp=future["timestamp"] + pd.Timedelta("1us"))
    with pytest.raises(CovariateError, match="lacks"):
        forecaster.predict(future_df=late)


def test_static_covariates_alone() -> None:
    frame = make_frame(items=4).drop(columns="driver").assign(size=lambda f: f["item_id"].str[-1].astype(float))
    forecaster = make_forecaster(static_covariates=["size"], covariate_method="ridge").fit(frame)
    forecast = forecaster.predict()
    assert np.isfinite(forecast.drop(columns=["item_id", "timestamp", "target_name"]).to_numpy()).all()


def test_static_covariates_that_nobody_knows() -> None:
    frame = make_frame(items=3).drop(columns="driver").assign(size=np.nan)
    forecast = make_forecaster(static_covariates=["size"], covariate_method="ridge").fit(frame).predict()
    pd.testing.assert_frame_equal(forecast, make_forecaster().fit(frame).predict())


def test_wide_integers_as_a_covariate_of_arrow() -> None:
    frame = make_frame(items=1)[:120]
    wide = frame.assign(driver=2**60 + 2 * np.arange(len(frame)) + 1)
    forecaster = make_forecaster(past_covariates=["driver"], covariate_method="ridge")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TsarWarning)
        expected = forecaster.fit(wide).predict()
        found = forecaster.fit(pa.Table.from_pandas(wide)).predict().to_pandas()
    np.testing.assert_array_equal(found["predictions"], expected["predictions"])


@pytest.mark.parametrize("method", ["ridge", "gradient_boosting"])
def test_a_history_that_is_long_enough_for_two_backtests_only(method: str) -> None:
    frame = make_frame(items=1)[: 16 + HORIZON + HORIZON // 3]
    forecaster = make_forecaster(past_covariates=["driver"], covariate_method=method)
    with pytest.warns(TsarWarning, match="'driver'"):
        forecast = forecaster.fit(frame).predict()
    pd.testing.assert_frame_equal(forecast, make_forecaster().fit(frame).predict())


def test_a_constant_is_not_moved_by_covariates_that_move_others() -> None:
    steady = make_frame(items=1)[-HORIZON - 8 :].assign(item_id="steady", target=1e-30)  # too short for a backtest
    past, future = split(pd.concat([make_frame(), steady]))
    forecaster = make_forecaster(future_covariates=["driver"], covariate_method="ridge").fit(past)
    assert forecaster.covariate_effect_.kept.all()
    forecast = forecaster.predict(future_df=future.drop(columns="target")).query("item_id == 'steady'")
    assert (forecast.drop(columns=["item_id", "timestamp", "target_name"]) == 1e-30).all(axis=None)
