"""Explanations: what is known to move a forecast is found, and what is known not to is not."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import pytest

from tsar import Forecaster, explain, plot_explanation
from tsar.errors import NotFittedError, OptionError, TsarWarning

HORIZON = 12


@pytest.fixture(autouse=True)
def no_open_figures():
    yield
    plt.close("all")


def make_frame(y, item_id="a", freq="MS"):
    stamps = pd.date_range("1980-01-01", periods=len(y), freq=freq)
    return pd.DataFrame({"item_id": item_id, "timestamp": stamps, "target": np.asarray(y, dtype=float)})


def make_seasonal(length=240, season=12, seed=0):
    """A profile that drifts, so that the newest seasons say most."""
    rng = np.random.default_rng(seed)
    drift = rng.normal(size=(length // season, season)).cumsum(0)
    return 50 + drift.ravel() + 0.1 * rng.normal(size=length)


def segments_of(explanation, block=None):
    rows = explanation[explanation["kind"] == "segment"]
    return rows if block is None else rows[rows["first_step"] == block]


@pytest.fixture(scope="module")
def forecaster():
    return Forecaster(prediction_length=HORIZON, symmetrize=False, follow_period=False)


def test_the_newest_seasons_matter_more_than_far_ones(forecaster):
    explanation = explain(forecaster, make_frame(make_seasonal()), segments="season", blocks=1)
    effect = segments_of(explanation).set_index("name")["effect"]
    assert list(effect.index) == [f"season {number}" for number in range(20, 0, -1)]
    near, far = effect[[f"season {n}" for n in (1, 2, 3)]], effect[[f"season {n}" for n in range(11, 21)]]
    assert near.mean() > 3 * far.mean()
    assert effect.idxmax() in near.index


def test_a_planted_shift_ranks_first(forecaster):
    y = np.random.default_rng(1).normal(size=240)
    y[210:] += 30  # the newest of eight segments of thirty
    explanation = explain(forecaster, make_frame(y), blocks=2)
    for first in (1, 7):
        rows = segments_of(explanation, first).set_index("name")
        assert rows["rank"].idxmin() == "segment 1"
        assert rows.loc["segment 1", "change"] > 10  # it raised the forecast from the old level
        assert rows.loc["segment 1", "effect"] > 3 * rows["effect"].drop("segment 1").max()
    newest = segments_of(explanation, 1).iloc[-1]
    assert (newest["timestamp"], newest["num_points"]) == (pd.Timestamp("1997-07-01"), 30)


def test_a_planted_outlier_near_the_end_ranks_first(forecaster):
    y = np.random.default_rng(2).normal(size=192)
    calm = segments_of(explain(forecaster, make_frame(y), blocks=1)).set_index("name")
    y[180] += 400.0
    rows = segments_of(explain(forecaster, make_frame(y), blocks=1)).set_index("name")
    assert rows["rank"].idxmin() == "segment 1"
    assert rows.loc["segment 1", "effect"] > 5 * calm.loc["segment 1", "effect"]
    without = forecaster.predict(make_frame(np.where(np.arange(192) // 24 == 7, np.nan, y)))
    changed = forecaster.predict(make_frame(y))["predictions"] - without["predictions"]
    assert rows.loc["segment 1", "change"] == pytest.approx(changed.mean(), rel=1e-4)


def test_parts_add_up_to_the_median(forecaster):
    frame = pd.concat([make_frame(make_seasonal()), make_frame(make_seasonal(seed=5)[:100], "b")])
    explanation = explain(forecaster, frame, blocks=HORIZON)
    parts = explanation[explanation["kind"] == "part"]
    assert (parts["rank"] == 0).all()
    total = parts.groupby(["item_id", "first_step"], sort=False)["change"].sum().to_numpy()
    plain = Forecaster(prediction_length=HORIZON, symmetrize=False, non_negative=False, follow_period=False)
    np.testing.assert_allclose(total, plain.predict(frame)["predictions"], rtol=1e-6)
    assert parts["timestamp"].min() == pd.Timestamp("1988-05-01")  # the first month after the shorter item


def test_useless_and_useful_covariates():
    rng = np.random.default_rng(3)
    driver, idle = rng.normal(size=(2, 420 + HORIZON))
    y = 100 + 10 * np.sin(2 * np.pi * np.arange(420 + HORIZON) / 12) + 8 * driver + rng.normal(size=len(driver))
    frame = make_frame(y, freq="D").assign(driver=driver, idle=idle)
    past, ahead = frame.iloc[:420], frame.iloc[420:].drop(columns="target")
    forecaster = Forecaster(
        prediction_length=HORIZON, context_length=128, symmetrize=False, non_negative=False, follow_period=False,
        future_covariates=["driver", "idle"], covariate_method="ridge",
    )  # fmt: skip
    with pytest.warns(TsarWarning, match="not used: 'idle'"):
        forecaster.fit(past)
    explanation = explain(forecaster, segments=2, blocks=HORIZON, future_df=ahead)
    rows = explanation[explanation["kind"] == "covariate"].pivot(index="first_step", columns="name", values="change")
    assert (rows["idle"] == 0).all()
    assert np.corrcoef(rows["driver"], ahead["driver"])[0, 1] > 0.95
    plain = Forecaster(
        prediction_length=HORIZON, context_length=128, symmetrize=False, non_negative=False, follow_period=False
    )
    moved = (
        forecaster.predict(future_df=ahead)["predictions"]
        - plain.predict(past[["item_id", "timestamp", "target"]])["predictions"]
    )
    np.testing.assert_allclose(rows["driver"], moved, rtol=1e-6, atol=1e-9)


def test_an_item_without_values_and_one_of_one_point(forecaster):
    frame = pd.concat([make_frame([np.nan] * 5, "none"), make_frame([3.0], "one"), make_frame(make_seasonal(), "many")])
    with pytest.warns(TsarWarning):
        rows = segments_of(explain(forecaster, frame)).set_index("item_id")
    assert rows.loc[["none", "one"], "effect"].isna().all()
    assert (rows.loc[["none", "one"], "rank"] == 0).all()
    assert rows.loc["many", "effect"].notna().all()


def test_other_kinds_of_frame_and_names():
    frame = pl.DataFrame({"shop": ["x"] * 60, "day": range(60), "sold": np.sin(np.arange(60))})
    forecaster = Forecaster(id_column="shop", timestamp_column="day", target="sold", gap=2, prediction_length=5).fit(
        frame
    )
    explanation = explain(forecaster, segments=3, blocks=2)
    assert isinstance(explanation, pl.DataFrame)
    assert explanation.columns[:3] == ["shop", "day", "kind"]
    rows = explanation.filter((pl.col("kind") == "part") & (pl.col("name") == "trend"))
    assert rows["day"].to_list() == [62, 65]


@pytest.mark.parametrize("options", [{"segments": 0}, {"segments": "week"}, {"blocks": True}])
def test_options_are_checked(forecaster, options):
    with pytest.raises(OptionError, match=r"whole number from 1.*option\.invalid"):
        explain(forecaster, make_frame(make_seasonal()), **options)


def test_no_season_and_no_history(forecaster):
    with pytest.raises(OptionError, match="segments='season'"):
        explain(forecaster, pd.DataFrame({"item_id": 1, "timestamp": range(30), "target": 1.0}), segments="season")
    with pytest.raises(NotFittedError):
        explain(Forecaster())


def test_plot_tints_the_segments(forecaster):
    y = np.random.default_rng(1).normal(size=240)
    y[210:] += 30
    frame = pd.concat([make_frame(make_seasonal(), "calm"), make_frame(y, "shift")])
    explanation = explain(forecaster, frame, blocks=2)
    ax = plot_explanation(explanation, frame, item_id="shift", forecast=forecaster.predict(frame))
    ax.figure.draw_without_rendering()
    assert len(ax.patches) == 8
    assert max(ax.patches, key=lambda patch: patch.get_alpha()) is ax.patches[-1]
    assert [line.get_label() for line in ax.lines] == ["history", "median"]
