"""Adapters forecast the numbers of the Forecaster, and the other libraries' metrics are ours."""

import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from tsar import Forecaster
from tsar.errors import FrameError, MissingDependencyError, OptionError
from tsar.interop.nixtla import TsarNixtla
from tsar.interop.windows import WindowRegressor
from tsar.metrics import (
    interval_coverage,
    mean_absolute_scaled_error,
    seasonal_error,
    symmetric_mape,
    weighted_quantile_loss,
)
from tsar.optional import require

pytestmark = pytest.mark.filterwarnings("ignore:Using `json`-module:UserWarning")  # GluonTS without orjson

AHEAD, SEASON = 6, 7
LEVELS = [0.1, 0.5, 0.9]
CLOSE = {"rel": 1e-6}


def long_frame(names=("item_id", "timestamp", "target"), length=90, items=4):
    rng = np.random.default_rng(0)
    stamps = pd.date_range("2024-01-01", periods=length, freq="D")
    parts = []
    for item in range(items):
        values = 10 + item + np.sin(2 * np.pi * np.arange(length) / SEASON) + 0.3 * rng.normal(size=length)
        parts.append(pd.DataFrame(dict(zip(names, (f"s{item}", stamps, values), strict=True))))
    return pd.concat(parts, ignore_index=True)


def split(frame, item="item_id"):
    from_end = frame.groupby(item).cumcount(ascending=False)
    return frame[from_end >= AHEAD], frame[from_end < AHEAD]


def our_scores(past, future, quantiles):
    actual = future["target"].to_numpy().reshape(-1, AHEAD)
    scales = np.array([seasonal_error(part.to_numpy(), SEASON) for _, part in past.groupby("item_id")["target"]])
    return mean_absolute_scaled_error(actual, quantiles[..., 1], scales), weighted_quantile_loss(
        actual, quantiles, LEVELS
    )


@pytest.mark.slow
@parametrize_with_checks([WindowRegressor()])
def test_scikit_learn_checks_of_the_window_regressor(estimator, check, record_property):
    check(estimator)
    record_property("checks of scikit-learn", 1)


def test_a_window_regressor_moves_with_its_rows():
    X = long_frame()["target"].to_numpy().reshape(-1, 30)
    model = WindowRegressor().fit(X[:, :24], X[:, 24:27])
    np.testing.assert_allclose(model.predict(3 * X[:, :24] + 5), 3 * model.predict(X[:, :24]) + 5, rtol=1e-3)
    lags = WindowRegressor(newest_first=True).fit(X[:, 23::-1], X[:, 24:27])
    np.testing.assert_allclose(lags.predict(X[:, 23::-1]), model.predict(X[:, :24]))
    with pytest.raises(OptionError, match="alpha"):
        WindowRegressor(alpha=-1).fit(X[:, :24], X[:, 24])


def test_gluonts_judges_the_numbers_of_the_forecaster(tmp_path):
    from gluonts.dataset.split import split as gluonts_split
    from gluonts.ev.metrics import MASE, MeanWeightedSumQuantileLoss
    from gluonts.model import evaluate_model
    from gluonts.model.predictor import Predictor

    from tsar.interop.gluonts import TsarPredictor

    frame = long_frame()
    past, future = split(frame)
    entries = [
        {"start": part["timestamp"].iloc[0], "target": part["target"].to_numpy(), "item_id": name}
        for name, part in frame.groupby("item_id")
    ]
    data = [{**entry, "start": pd.Period(entry["start"], "D")} for entry in entries]
    _, template = gluonts_split(data, offset=-AHEAD)
    predictor = TsarPredictor(AHEAD, quantile_levels=LEVELS)
    (tmp_path / "p").mkdir()
    predictor.serialize(tmp_path / "p")
    again = Predictor.deserialize(tmp_path / "p")
    assert again == predictor
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = evaluate_model(
            again, test_data=template.generate_instances(AHEAD), axis=None, seasonality=SEASON,
            metrics=[MASE(forecast_type="0.5"), MeanWeightedSumQuantileLoss(quantile_levels=LEVELS)],
        )  # fmt: skip
    quantiles = Forecaster(prediction_length=AHEAD, quantile_levels=LEVELS).predict_quantiles(past).quantiles
    ours = our_scores(past, future, quantiles)
    assert theirs["MASE[0.5]"].item() == pytest.approx(ours[0], **CLOSE)
    assert theirs["mean_weighted_sum_quantile_loss"].item() == pytest.approx(ours[1], **CLOSE)
    with pytest.raises(FrameError, match="one series"):
        next(iter(predictor.predict([{"start": pd.Period("2024-01-01", "D"), "target": np.zeros((2, 9))}])))


def test_a_fev_task_scores_the_numbers_of_the_forecaster(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    fev = pytest.importorskip("fev")
    import datasets

    from tsar.interop.fev import run_task

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    frame = long_frame()
    rows = [
        {"id": name, "timestamp": part["timestamp"].to_numpy(), "target": part["target"].to_numpy()}
        for name, part in frame.groupby("item_id")
    ]
    pd.DataFrame(rows).to_parquet(tmp_path / "days.parquet")
    task = fev.Task(
        dataset_path=str(tmp_path / "days.parquet"), horizon=AHEAD, seasonality=SEASON, quantile_levels=LEVELS,
        eval_metric="MASE", extra_metrics=["WQL", "SQL"],
    )  # fmt: skip
    theirs = task.evaluation_summary(run_task(task), model_name="tsar")
    past, future = split(frame)
    quantiles = Forecaster(prediction_length=AHEAD, quantile_levels=LEVELS).predict_quantiles(past).quantiles
    mase, wql = our_scores(past, future, quantiles)
    assert theirs["MASE"] == pytest.approx(mase, **CLOSE)
    assert theirs["WQL"] == pytest.approx(wql, **CLOSE)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_sktime_checks_of_the_forecaster(record_property):
    pytest.importorskip("sktime")
    from sktime.utils.estimator_checks import check_estimator

    from tsar.interop.sktime import TsarForecaster

    results = check_estimator(TsarForecaster, raise_exceptions=False, verbose=False)
    assert [name for name, outcome in results.items() if outcome != "PASSED"] == []
    pretraining = [name for name in results if name.startswith("test_pretrain")]
    record_property("checks of sktime", len(results))
    record_property("checks of sktime on pretraining", len(pretraining))
    assert len(results) > 700
    assert len({name.split("[")[0] for name in pretraining}) >= 10


def test_nixtla_columns_and_utilsforecast_scores():
    from functools import partial

    from utilsforecast.evaluation import evaluate
    from utilsforecast.losses import coverage, mase, mqloss, quantile_loss, smape

    frame = long_frame(("unique_id", "ds", "y"))
    past, future = split(frame, "unique_id")
    model = TsarNixtla()
    answer = model.forecast(past, AHEAD, level=[80])
    assert list(answer) == ["unique_id", "ds", "tsar", "tsar-lo-80", "tsar-hi-80"]
    ours = Forecaster(prediction_length=AHEAD, quantile_levels=LEVELS).predict_quantiles(
        past.set_axis(["item_id", "timestamp", "target"], axis=1)
    )
    np.testing.assert_allclose(answer["tsar-hi-80"], ours.quantiles[..., 2].ravel())
    metrics = [partial(mase, seasonality=SEASON), smape, coverage, quantile_loss, mqloss]
    scores = evaluate(future.merge(answer), metrics, train_df=past, level=[80]).groupby("metric")["tsar"].mean()
    names = {"unique_id": "item_id", "ds": "timestamp", "y": "target"}
    expected, _ = our_scores(past.rename(columns=names), future.rename(columns=names), ours.quantiles)
    assert scores["mase"] == pytest.approx(expected, **CLOSE)
    actual, (low, median, high) = future["y"].to_numpy().reshape(-1, AHEAD), np.moveaxis(ours.quantiles, -1, 0)
    assert scores["smape"] == pytest.approx(symmetric_mape(actual, median) / 2, **CLOSE)  # theirs lies in 0 to 1
    assert scores["coverage_level80"] == pytest.approx(interval_coverage(actual, low, high), **CLOSE)
    losses = scores[["quantile_loss_q0.1", "quantile_loss_q0.9"]]
    ends = weighted_quantile_loss(actual, ours.quantiles[..., [0, 2]], [0.1, 0.9])
    assert 2 * losses.mean() / np.abs(actual).mean() == pytest.approx(ends, **CLOSE)
    assert scores["mqloss"] == pytest.approx(losses.mean(), **CLOSE)
    windows = model.cross_validation(frame, AHEAD, n_windows=2, step_size=3, level=[80])
    assert len(windows) == 4 * 2 * AHEAD
    last = windows[windows["cutoff"] == windows["cutoff"].max()]
    np.testing.assert_allclose(last["tsar"], answer["tsar"], rtol=1e-5)
    with pytest.raises(FrameError, match="no history"):
        model.cross_validation(frame, 80, n_windows=2)
    with pytest.raises(OptionError, match="between 0 and 100"):
        model.forecast(past, AHEAD, level=[100])


@pytest.mark.parametrize("kind", ["polars", "lazy", "pyarrow"])
@pytest.mark.parametrize("stamps", ["dates", "text", "integers"])
def test_nixtla_takes_and_gives_frames_of_any_library(tiny_release, kind, stamps):
    import polars as pl

    frame = long_frame(("unique_id", "ds", "y"), length=40).assign(
        unique_id=lambda df: df["unique_id"].str[1:].astype(int)
    )
    if stamps == "integers":
        frame["ds"] = frame.groupby("unique_id").cumcount()
    elif stamps == "text":
        frame["ds"] = frame["ds"].dt.strftime("%Y-%m-%d")
    table = pl.from_pandas(frame)
    if stamps == "dates":
        table = table.with_columns(pl.col("ds").cast(pl.Date))
    data = {"polars": table, "lazy": table.lazy(), "pyarrow": table.to_arrow()}[kind]
    model = TsarNixtla(tiny_release)
    for method in ("forecast", "cross_validation"):
        theirs = getattr(model, method)(data, AHEAD, level=[80])
        assert type(theirs) is type(table.to_arrow() if kind == "pyarrow" else table)
        got = pl.from_arrow(theirs) if kind == "pyarrow" else theirs
        assert got.schema["unique_id"] == pl.Int64
        assert got.schema["ds"].is_temporal() if stamps == "text" else got.schema["ds"] == table.schema["ds"]
        wanted = getattr(model, method)(frame, AHEAD, level=[80])
        assert got.columns == list(wanted)
        for name in wanted:
            assert got[name].to_list() == pl.from_pandas(wanted[[name]])[name].cast(got.schema[name]).to_list()


def test_nixtla_takes_covariates_of_any_library(tiny_release):
    import polars as pl

    frame = long_frame(("unique_id", "ds", "y"), length=120)
    frame["promo"] = np.random.default_rng(1).integers(0, 2, len(frame))
    past, future = split(frame.assign(y=frame["y"] + 5 * frame["promo"]), "unique_id")
    future = future.drop(columns="y")
    model = TsarNixtla(tiny_release)
    wanted = model.forecast(past, AHEAD, X_df=future)
    assert not np.allclose(wanted["tsar"], model.forecast(past.drop(columns="promo"), AHEAD)["tsar"])
    for stamps in (pl.Datetime("us"), pl.Date):
        tables = [pl.from_pandas(one).with_columns(pl.col("ds").cast(stamps)) for one in (past, future)]
        got = model.forecast(tables[0], AHEAD, X_df=tables[1].lazy())
        np.testing.assert_array_equal(got["tsar"], wanted["tsar"])
    arrow = model.forecast(tables[0].to_arrow(), AHEAD, X_df=tables[1].to_arrow())
    np.testing.assert_array_equal(arrow["tsar"], wanted["tsar"])


def test_nixtla_names_what_is_wrong(tiny_release):
    frame = long_frame(("unique_id", "ds", "y"), length=40)
    model = TsarNixtla(tiny_release)
    for method in (model.forecast, model.cross_validation):
        with pytest.raises(OptionError, match=r"^h must be a whole number from 1, got 0") as caught:
            method(frame, 0)
        assert caught.value.code == "option.prediction_length"
        with pytest.raises(FrameError, match="'y'"):
            method(frame[["unique_id", "ds"]], AHEAD)
    future = pd.DataFrame({"unique_id": ["s0"], "ds": frame["ds"].iloc[:1], "promo": 1.0})
    with pytest.raises(FrameError, match="'promo'"):
        model.forecast(frame, AHEAD, X_df=future)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_hierarchicalforecast_reconciles_the_columns_of_nixtla(tiny_release):
    pytest.importorskip("hierarchicalforecast")
    from hierarchicalforecast.core import HierarchicalReconciliation
    from hierarchicalforecast.methods import BottomUp, MinTrace
    from hierarchicalforecast.utils import aggregate

    shops = long_frame(("shop", "ds", "y")).assign(country="X")
    table, sums, tags = aggregate(shops, [["country"], ["country", "shop"]])
    forecast = TsarNixtla(tiny_release).forecast(table, AHEAD)
    methods = HierarchicalReconciliation([BottomUp(), MinTrace("ols")])
    answer = methods.reconcile(Y_hat_df=forecast, S_df=sums, tags=tags)
    base, up, ols = (
        answer.pivot(index="unique_id", columns="ds", values=name).loc[sums["unique_id"]].to_numpy()
        for name in ("tsar", "tsar/BottomUp", "tsar/MinTrace_method-ols")
    )
    S = sums.drop(columns="unique_id").to_numpy(float)
    np.testing.assert_allclose(base, forecast["tsar"].to_numpy().reshape(-1, AHEAD))
    np.testing.assert_allclose(up, S @ base[1:], rtol=1e-6)
    np.testing.assert_allclose(ols, S @ np.linalg.lstsq(S, base, rcond=None)[0], rtol=1e-6)


def test_what_is_missing_is_named_with_the_pip_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "sktime", None)
    with pytest.raises(MissingDependencyError, match=r"tsar-forecast\[sktime\]") as caught:
        require("sktime", "sktime")
    assert caught.value.code == "dependency.missing"
    assert Path(require("json", "x").__file__).is_file()
