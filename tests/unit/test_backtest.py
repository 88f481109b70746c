"""Backtests: nothing of the future is seen, every kind of frame works, scores are those of `tsar.metrics`."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from tsar import Forecaster, backtest, leaderboard, plot_backtest, plot_coverage
from tsar.baselines import BoostedLags, Drift, SeasonalNaive
from tsar.errors import OptionError, TsarError, TsarWarning
from tsar.metrics import coverage, mean_absolute_scaled_error, symmetric_mape, weighted_quantile_loss

HOURS = pd.date_range("2024-01-01", periods=240, freq="h", tz="Europe/Paris")
LEVELS = [0.1, 0.5, 0.9]


def make_panel(seed=0):
    rng = np.random.default_rng(seed)
    parts = [
        pd.DataFrame(
            {"item_id": name, "timestamp": HOURS[:n], "target": 10 + np.sin(np.arange(n) / 4) + rng.normal(size=n)}
        )
        for name, n in (("b", 240), ("a", 200), ("c", 150))
    ]
    return pd.concat(parts, ignore_index=True)


class Recorder(SeasonalNaive):
    """Seasonal naive that keeps every table it was handed, on the class, since it is cloned."""

    seen: ClassVar[list] = []
    future_covariates: tuple[str, ...] = ()

    def fit(self, df, y=None):
        Recorder.seen.append(("fit", df, None))
        return super().fit(df)

    def predict(self, df=None, *, future_df=None, **options):
        Recorder.seen.append(("predict", df, future_df))
        return super().predict(df, **options)


@pytest.fixture
def recorder():
    Recorder.seen = []
    return Recorder(prediction_length=12, quantile_levels=LEVELS)


def test_rows_beside_what_came():
    df = make_panel()
    result = backtest(SeasonalNaive(prediction_length=24, quantile_levels=LEVELS), df, windows=2)
    frame = result.forecasts
    assert frame.columns.tolist() == [
        "item_id", "timestamp", "target_name", "cutoff", "step", "actual", "predictions", "0.1", "0.5", "0.9"
    ]  # fmt: skip
    assert len(frame) == 3 * 2 * 24
    joined = frame.merge(df, on=["item_id", "timestamp"], validate="many_to_one")
    np.testing.assert_array_equal(joined["actual"], joined["target"])
    assert (frame["timestamp"] - frame["cutoff"] == pd.to_timedelta(frame["step"], unit="h")).all()
    last = frame.groupby("item_id")["timestamp"].max()
    assert last.to_dict() == df.groupby("item_id")["timestamp"].max().to_dict()


def test_only_rows_up_to_the_cutoff_are_handed_out(recorder):
    backtest(recorder, make_panel(), windows=3, gap=2, refit=True)
    ends = make_panel().groupby("item_id")["timestamp"].max()
    tables = [table for kind, table, _ in Recorder.seen if kind == "predict"]
    assert len(tables) == 3
    for window, table in enumerate(tables):
        known = table.groupby("item_id")["timestamp"].max()
        expected = ends - pd.to_timedelta(2 + 12 * (3 - window), unit="h")
        assert known.to_dict() == expected.to_dict()


@pytest.mark.parametrize("refit", [False, True])
@pytest.mark.parametrize(
    "model", ["tsar-tiny", pytest.param("boosted-lags", marks=pytest.mark.slow), "tsar-tiny calibrated"]
)
@pytest.mark.slow
def test_poisoned_future_changes_nothing(model, refit):
    df = make_panel()
    options = {"prediction_length": 12, "quantile_levels": LEVELS}
    forecaster = {
        "tsar-tiny": Forecaster(**options),
        "tsar-tiny calibrated": Forecaster(**options, calibrate=True, context_length=64),
        "boosted-lags": BoostedLags(**options, engine="sklearn"),
    }[model]
    if model == "tsar-tiny calibrated" and not refit:
        pytest.skip("as costly as with refit, and says no more")
    clean = backtest(forecaster, df, windows=1, refit=refit, gap=3).forecasts
    last = df.groupby("item_id")["timestamp"].transform("max")
    hidden = df["timestamp"] > last - pd.to_timedelta(15, unit="h")
    poisoned = df.assign(target=df["target"].mask(hidden, 1e300))
    answer = backtest(forecaster, poisoned, windows=1, refit=refit, gap=3).forecasts
    np.testing.assert_array_equal(answer.filter(regex="^0|pred"), clean.filter(regex="^0|pred"))


def test_infinite_future_never_reaches_the_forecaster(recorder):
    """The forecaster refuses infinite values, so this fails if one row too many is handed out."""
    df = make_panel()
    backtest(recorder, df, windows=1)
    last = df.groupby("item_id")["timestamp"].transform("max")
    poisoned = df.assign(target=df["target"].mask(df["timestamp"] > last - pd.to_timedelta(12, unit="h"), np.inf))
    for _, table, _ in Recorder.seen:
        cut = poisoned.merge(table[["item_id", "timestamp"]])
        assert np.isfinite(cut["target"]).all()
        assert len(cut) == len(table)


def test_fits_once_at_the_earliest_cutoff(recorder):
    backtest(recorder, make_panel(), windows=3, step=5)
    kinds = [kind for kind, _, _ in Recorder.seen]
    assert kinds == ["fit", "predict", "predict", "predict"]
    assert Recorder.seen[0][1] is Recorder.seen[1][1]


def test_future_covariates_are_passed_without_the_target(recorder, monkeypatch):
    monkeypatch.setattr(Recorder, "future_covariates", ("price",))
    df = make_panel().assign(price=np.arange(590.0), other="x")
    backtest(recorder, df, windows=2, gap=1)
    for kind, known, future in Recorder.seen:
        assert {"price", "other", "target"} <= set(known.columns)
        if kind == "predict":
            assert future.columns.tolist() == ["item_id", "timestamp", "price"]
            assert future.groupby("item_id").size().to_dict() == {"a": 13, "b": 13, "c": 13}
            first = future.groupby("item_id")["timestamp"].min()
            assert (first - known.groupby("item_id")["timestamp"].max() == pd.Timedelta("1h")).all()


@pytest.mark.parametrize("kind", ["polars", "pyarrow", "text", "integers", "shuffled", "renamed"])
def test_kinds_of_frames_give_the_same_numbers(kind):
    df = make_panel()
    expected = backtest(Drift(prediction_length=6, quantile_levels=LEVELS), df, windows=2)
    names = {}
    if kind == "polars":
        given = pl.from_pandas(df)
    elif kind == "pyarrow":
        given = pa.Table.from_pandas(df)
    elif kind == "text":
        given = df.assign(timestamp=df["timestamp"].dt.tz_localize(None).dt.strftime("%Y-%m-%dT%H:%M:%S"))
    elif kind == "integers":
        given = df.assign(
            timestamp=df.groupby("item_id").cumcount() * 5, item_id=df["item_id"].map({"b": 7, "a": 1, "c": 2})
        )
    elif kind == "shuffled":
        first = ~df["item_id"].duplicated()
        given = pd.concat([df[first], df[~first].sample(frac=1, random_state=0)])
    else:
        names = {"id_column": "shop", "timestamp_column": "when", "target": "sold"}
        given = df.rename(columns={"item_id": "shop", "timestamp": "when", "target": "sold"})
    result = backtest(Drift(prediction_length=6, quantile_levels=LEVELS, **names), given, windows=2)
    np.testing.assert_allclose(result.windows.quantiles, expected.windows.quantiles, rtol=1e-12)
    assert type(result.forecasts) is type(given)
    assert len(result.forecasts) == 36


def test_one_series_without_ids():
    df = make_panel().query("item_id == 'a'").drop(columns="item_id")
    result = backtest(Drift(prediction_length=6, id_column=None), df)
    assert len(result.forecasts) == 18
    assert result.score_by("item_id")["item_id"].tolist() == ["series_0"]


def test_scores_are_those_of_the_metrics():
    df = make_panel()
    df.loc[[235, 400], "target"] = np.nan
    result = backtest(SeasonalNaive(prediction_length=24, quantile_levels=LEVELS), df, windows=2)
    numbers = result.windows
    actual, median = numbers.actual.reshape(-1, 24), numbers.median.reshape(-1, 24)
    quantiles = numbers.quantiles.reshape(-1, 24, 3)
    scores = result.scores
    np.testing.assert_allclose(scores["MASE"], mean_absolute_scaled_error(actual, median, numbers.scales.ravel()))
    np.testing.assert_allclose(scores["WQL"], weighted_quantile_loss(actual, quantiles, LEVELS))
    np.testing.assert_allclose(scores["sMAPE"], symmetric_mape(actual, median))
    np.testing.assert_allclose([scores[f"coverage_{level}"] for level in LEVELS], coverage(actual, quantiles))
    by_item = result.score_by("item_id", "cutoff", "step")
    assert len(by_item) == 3 * 2 * 24
    assert by_item["points"].sum() == scores["points"] == 3 * 2 * 24 - 2


def test_coverage_report_knows_the_truth():
    rng = np.random.default_rng(1)
    df = pd.DataFrame({"item_id": np.repeat(range(40), 60), "timestamp": np.tile(np.arange(60), 40)})
    df["target"] = rng.normal(size=2400).cumsum()
    report = backtest(Drift(prediction_length=5), df, windows=4).coverage_report()
    assert report["band"].unique().tolist() == [0.8, 0.6, 0.4, 0.2]
    assert report["step"].unique().tolist() == [0, 1, 2, 3, 4, 5]
    np.testing.assert_allclose(report.query("step == 0")["coverage"], [0.8, 0.6, 0.4, 0.2], atol=0.06)
    np.testing.assert_allclose(report["randomized"], report["coverage"])
    widths = report.query("band == 0.8 and step > 0")["width"]
    assert widths.is_monotonic_increasing


def test_ties_do_not_count_as_coverage():
    """Nights are zero and so are their bands: 80 % of them count, not all; the days are noise, well covered."""
    rng = np.random.default_rng(0)
    day = np.arange(24 * 40) % 24 >= 12
    df = pd.DataFrame({"timestamp": np.arange(24 * 40), "target": np.where(day, 50 + rng.normal(size=24 * 40), 0)})
    forecaster = SeasonalNaive(prediction_length=24, season_length=24, id_column=None, quantile_levels=LEVELS)
    result = backtest(forecaster, df, windows=20)
    numbers = result.windows
    numbers.quantiles[..., :12, :] = 0.0
    numbers.quantiles[..., 12:, :] = [50 - 1.2816, 50, 50 + 1.2816]
    report = result.coverage_report(by_step=False).iloc[0]
    assert report["coverage"] > 0.88
    assert abs(report["randomized"] - 0.8) < 0.04


def test_short_items_are_named():
    df = pd.concat([make_panel(), make_panel().query("item_id == 'a'").head(10).assign(item_id="new")])
    with pytest.warns(TsarWarning, match="1 of 4 items, first 'new'"):
        result = backtest(Drift(prediction_length=24), df, windows=6)
    assert set(result.forecasts["item_id"]) == {"a", "b", "c"}
    assert result.score_by("item_id").set_index("item_id")["points"].to_dict() == {"b": 144, "a": 144, "c": 144}


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"prediction_length": 1000}, "backtest.too_short"),
        ({"prediction_length": 0}, "option.prediction_length"),
        ({"windows": 0}, "option.invalid"),
        ({"step": 1.5}, "option.invalid"),
        ({"gap": -1}, "option.invalid"),
        ({"min_history": True}, "option.invalid"),
        ({"quantile_levels": [10]}, "option.quantile_level"),
    ],
)
def test_refusals(options, code):
    with pytest.raises(TsarError) as caught:
        backtest(SeasonalNaive(), make_panel(), **options)
    assert caught.value.code == code


def test_columns_that_would_be_there_twice_are_refused():
    df = make_panel().rename(columns={"item_id": "step"})
    result = backtest(Drift(prediction_length=3, id_column="step"), df)
    assert result.score_by("item_id").columns[0] == "step"
    by = (("item_id", "step"), ("step", "step"))
    for ask in (lambda: result.forecasts, *(partial(result.score_by, *names) for names in by)):
        with pytest.raises(TsarError, match="two columns named 'step'") as caught:
            ask()
        assert caught.value.code == "option.invalid"


def test_leaderboard_ranks_all_and_names_twins():
    df = make_panel().query("item_id != 'c'")
    models = ["seasonal-naive", "drift", "theta", "arnet", Forecaster("tsar-tiny", context_length=64)]
    board = leaderboard(df, models, prediction_length=12, windows=2)
    assert set(board.table["model"]) == {"seasonal-naive", "drift", "theta", "arnet", "tsar-tiny"}
    assert board.table["MASE"].is_monotonic_increasing
    naive = board.table.set_index("model").loc["seasonal-naive"]
    assert abs(naive["skill"]) < 1e-12
    np.testing.assert_allclose(board.table["win_rate"].mean(), 0.5)
    with pytest.raises(TsarError, match="two models"):
        leaderboard(df, ["drift", "drift"])


def test_pictures():
    result = backtest(SeasonalNaive(prediction_length=12), make_panel(), windows=3)
    ax = plot_backtest(result, item_id="a")
    assert len(ax.collections) == 3
    mase = result.score_by("item_id").set_index("item_id").loc["a", "MASE"]
    assert ax.get_title("left") == f"a: 3 x 12 steps, MASE {mase:.2f}"
    assert len(plot_coverage({"raw": result, "again": result}).lines) == 3
    with pytest.raises(TsarError):
        plot_backtest(result, item_id="nobody")


def test_a_name_is_no_forecaster():
    with pytest.raises(OptionError, match=r"must have fit and predict, got 'tsar-tiny'. Hint: make one first, such as"):
        backtest("tsar-tiny", pd.DataFrame())
