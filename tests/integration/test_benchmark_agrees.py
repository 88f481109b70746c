"""The benchmark gives the numbers of GluonTS, of fev and of our outside judge on the same windows."""

from __future__ import annotations

import json
import runpy
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tsar.benchmark import BenchmarkResult, from_fev, from_gluonts, read_sets, run_benchmark
from tsar.benchmark.scores import RESAMPLES, score_forecast
from tsar.cli import main
from tsar.errors import BenchmarkError
from tsar.metrics import seasonal_error

pytestmark = [
    pytest.mark.filterwarnings("ignore:Using `json`-module"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
LEVELS = np.round(np.arange(1, 10) / 10, 1).tolist()
AHEAD, SEASON, WINDOWS = 6, 7, 3
CLOSE = {"rel": 1e-6}


def make_series(num_items=9, seed=0) -> list[np.ndarray]:
    """Daily series of several lengths and scales, some values missing, one constant, none with a value of 0."""
    rng = np.random.default_rng(seed)
    series = []
    for row in range(num_items):
        length = 50 + 7 * row
        values = 10.0**row * (5 + np.sin(2 * np.pi * np.arange(length) / SEASON) + 0.3 * rng.normal(size=length))
        values[rng.random(length) < 0.06] = np.nan
        series.append(values)
    series[4] = np.full(70, 3.0)
    return series


def make_quantiles(actual: np.ndarray, seed=1) -> np.ndarray:
    """A forecast (I, F, Q) around what came, too narrow and biased."""
    rng = np.random.default_rng(seed)
    centre = np.where(np.isfinite(actual), actual, 3.0)
    noise = 0.2 * rng.normal(size=(*actual.shape, 1)) + 0.1 * np.sort(rng.normal(size=(*actual.shape, 9)), -1)
    return centre[..., None] * (1.05 + noise)


# ----------------------------------------------------------------------------------------------------------- GluonTS


def gluonts_entries() -> list[dict]:
    start = pd.Period("2023-01-01", freq="D")
    return [{"item_id": f"s{row}", "start": start, "target": values} for row, values in enumerate(make_series())]


def gluonts_scores(quantiles: np.ndarray) -> dict[str, float]:
    """GluonTS's own evaluation on its own windows, in its order."""
    from gluonts.dataset.split import split
    from gluonts.ev.metrics import MASE, SMAPE, Coverage, MeanWeightedSumQuantileLoss
    from gluonts.model.evaluation import evaluate_forecasts
    from gluonts.model.forecast import QuantileForecast

    _, template = split(gluonts_entries(), offset=-AHEAD * WINDOWS)
    test_data = template.generate_instances(AHEAD, windows=WINDOWS)
    keys = [str(level) for level in LEVELS]
    forecasts = [
        QuantileForecast(forecast_arrays=one.T, start_date=label["start"], forecast_keys=keys)
        for one, label in zip(quantiles, test_data.label, strict=True)
    ]
    metrics = [MASE(), SMAPE(), MeanWeightedSumQuantileLoss(quantile_levels=LEVELS), *(Coverage(q) for q in LEVELS)]
    scored = evaluate_forecasts(forecasts, test_data=test_data, metrics=metrics, seasonality=SEASON, axis=None)
    names = {"MASE[0.5]": "MASE", "sMAPE[0.5]": "sMAPE", "mean_weighted_sum_quantile_loss": "WQL"}
    names |= {f"coverage[{level}]": f"coverage_{level}" for level in LEVELS}
    return {ours: float(scored[theirs].item()) for theirs, ours in names.items()}


def test_scores_are_those_of_gluonts_on_its_windows():
    data = from_gluonts(gluonts_entries(), AHEAD, seasonality=SEASON, num_windows=WINDOWS)
    quantiles = make_quantiles(data.actual)
    ours = score_forecast(data, quantiles[..., 4], quantiles, LEVELS)
    theirs = gluonts_scores(quantiles)
    assert {name: ours[name] for name in theirs} == pytest.approx(theirs, **CLOSE)


def test_a_right_forecast_of_zero_counts_here_and_is_left_out_by_gluonts_and_fev():
    from gluonts.ev.stats import symmetric_absolute_percentage_error

    actual, median = np.array([[0.0, 1.0]]), np.array([[0.0, 3.0]])
    masked = {"label": np.ma.masked_invalid(actual), "0.5": median}
    assert symmetric_absolute_percentage_error(masked, "0.5").mean() == 1.0
    data = from_gluonts([{"start": "2024-01-01", "target": [1.0, 2.0, 0.0, 1.0]}], 2, freq="D", seasonality=1)
    assert score_forecast(data, median, median[..., None], [0.5])["sMAPE"] == 0.5


@pytest.mark.parametrize(("season", "others"), [(5, [1.0, 1.0]), (6, [0.0, np.nan]), (7, [2.0, np.nan])])
def test_scales_of_short_histories_are_those_that_the_docs_say(season, others):
    """GluonTS and fev differ from each other where a history is not longer than a season; 0 and NaN leave it out."""
    metrics = pytest.importorskip("fev.metrics")
    from gluonts.ev.ts_stats import seasonal_error as of_gluonts

    past = np.array([0.0, 2.0, 0.0, 2.0, 0.0, 1.0]) if season != 7 else np.array([0.0, 2.0, 4.0, 6.0, 8.0, 10.0])
    theirs = np.ma.getdata(of_gluonts(np.ma.masked_invalid(past), season, time_axis=-1))[0]
    task = {"y_past_lengths": np.array([len(past)]), "seasonality": season, "quantile_levels": []}
    actual, median = np.zeros((1, 1, 1)), np.ones((1, 1, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fevs = 1 / metrics.MASE().compute(
            y_true=actual, y_pred=median, y_past=past[:, None], q_pred=np.empty((1, 1, 1, 0)), **task
        )
    np.testing.assert_allclose([theirs, fevs], others)
    ours = seasonal_error(past, season)
    assert ours == (others[0] or np.abs(np.diff(past)).mean())


@pytest.mark.parametrize("writer", ["JsonLinesWriter", "ArrowWriter"])
def test_reads_the_folder_that_gluonts_writes(writer, tmp_path):
    from gluonts.dataset.arrow import ArrowWriter
    from gluonts.dataset.common import MetaData, TrainDatasets
    from gluonts.dataset.jsonl import JsonLinesWriter

    chosen = {"JsonLinesWriter": JsonLinesWriter, "ArrowWriter": ArrowWriter}[writer]()
    metadata = MetaData(freq="D", prediction_length=AHEAD)
    TrainDatasets(metadata, train=gluonts_entries(), test=gluonts_entries()).save(str(tmp_path / "days"), chosen)
    (data,) = read_sets(tmp_path / "days", only=["days"])
    expected = from_gluonts(gluonts_entries(), AHEAD)
    assert (data.name, data.prediction_length, data.seasonality, data.freqs) == ("days", AHEAD, 1, ("D",) * 9)
    assert data.item_ids.tolist() == expected.item_ids.tolist()
    assert data.starts.tolist() == expected.starts.tolist()
    for ours, theirs in zip([*data.pasts, data.actual], [*expected.pasts, expected.actual], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)  # GluonTS stores single precision


def test_a_damaged_gluonts_folder_is_refused(tmp_path):
    (tmp_path / "test").mkdir()
    for metadata in ("{}", '{"freq": "D", "prediction_length": 3}'):
        (tmp_path / "metadata.json").write_text(metadata)
        with pytest.raises(BenchmarkError) as caught:
            read_sets(tmp_path)
        assert caught.value.code == "benchmark.bad_set"


# --------------------------------------------------------------------------------------------------------------- fev


@pytest.fixture
def fev(tmp_path, monkeypatch):
    """The library, with its cache inside the test's folder and without a network."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    fev = pytest.importorskip("fev")
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return fev


def fev_task(fev, folder: Path, target="target", **options):
    series = make_series()
    rows = []
    for row, values in enumerate(series):
        stamps = pd.date_range("2023-01-01", periods=len(values), freq="D").to_numpy()
        second = np.roll(values, 3) + 1
        rows.append({"id": f"s{row}", "timestamp": stamps, "target": values, "second": second})
    pd.DataFrame(rows).to_parquet(folder / "days.parquet")
    settings = {"horizon": AHEAD, "num_windows": WINDOWS, "seasonality": SEASON, "quantile_levels": LEVELS}
    settings |= {"eval_metric": "MASE", "extra_metrics": ["WQL", "SMAPE"], "target": target}
    return fev.Task(dataset_path=str(folder / "days.parquet"), **(settings | options))


def as_fev_predictions(task, quantiles: np.ndarray, groups: np.ndarray) -> list[dict]:
    """The forecast (I, F, Q) of a set, as fev takes it: a list of windows, a list of items for each target."""
    num_targets = len(task.target_columns)
    windows = []
    for window in range(task.num_windows):
        predictions = {}
        for place, column in enumerate(task.target_columns):
            part = quantiles[groups == window * num_targets + place]
            predictions[column] = [
                {"predictions": one[:, 4], **{str(level): one[:, q] for q, level in enumerate(LEVELS)}} for one in part
            ]
        windows.append(predictions)
    return windows


@pytest.mark.parametrize(
    ("target", "options"),
    [
        ("target", {}),
        ("target", {"num_windows": 1, "max_context_length": 20}),
        ("target", {"min_context_length": 50}),
        (["second", "target"], {"num_windows": 2}),
    ],
)
@pytest.mark.slow
def test_scores_are_those_of_fev(fev, target, options, tmp_path):
    task = fev_task(fev, tmp_path, target, **options)
    data = from_fev(task, name="days")
    assert (data.prediction_length, data.seasonality, data.freqs[0]) == (AHEAD, SEASON, "D")
    quantiles = make_quantiles(data.actual)
    ours = score_forecast(data, quantiles[..., 4], quantiles, LEVELS)
    theirs = task.evaluation_summary(as_fev_predictions(task, quantiles, data.groups), model_name="m")
    assert theirs["num_forecasts"] == data.num_items
    assert ours["MASE"] == pytest.approx(theirs["MASE"], **CLOSE)
    assert ours["WQL"] == pytest.approx(theirs["WQL"], **CLOSE)
    assert ours["sMAPE"] == pytest.approx(theirs["SMAPE"], **CLOSE)


def test_a_fev_task_can_be_forecast(fev, tmp_path, tiny_release):
    result = run_benchmark([from_fev(fev_task(fev, tmp_path), name="days")], {"tiny": tiny_release})
    assert result.scores["not_finite"].tolist() == [0, 0]
    assert (result.scores["series"] == 9 * WINDOWS).all()


def test_what_is_no_fev_task_is_refused(fev, tmp_path):
    with pytest.raises(BenchmarkError, match=r"needs a fev\.Task"):
        from_fev(tmp_path)
    with pytest.raises(BenchmarkError) as caught:
        from_fev(fev_task(fev, tmp_path, min_context_length=500))
    assert caught.value.code == "benchmark.bad_set"


def test_without_fev_the_extra_is_named(monkeypatch):
    from tsar.errors import MissingDependencyError

    monkeypatch.setitem(sys.modules, "fev", None)
    with pytest.raises(MissingDependencyError, match=r"tsar-forecast\[bench\]"):
        from_fev(object())


@pytest.mark.parametrize("num_sets", [1, 7])
def test_skill_win_rate_and_intervals_are_those_of_fev(fev, num_sets):
    models = ["seasonal-naive", "a", "b", "c"]
    rng = np.random.default_rng(3)
    errors = np.exp(rng.normal(size=(num_sets, len(models))))
    errors[0, 1] = errors[0, 0]  # a tie
    errors[-1, 2:] = errors[-1, 0] * np.array([1e-4, 1e-3])  # both are clipped: a tie as well
    rows = [
        {"dataset_path": f"set{row}", "model_name": model, "test_error": errors[row, column], "seasonality": 1}
        | {"trained_on_this_dataset": False, "quantile_levels": "[]", "fev_version": fev.__version__}
        for row in range(num_sets)
        for column, model in enumerate(models)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of columns that a summary of a real task would have
        board = fev.leaderboard(rows, baseline_model="seasonal-naive", n_resamples=RESAMPLES, seed=5)
    scores = pd.DataFrame(rows).rename(columns={"dataset_path": "set", "model_name": "model"})
    relative = (errors / errors[:, :1]).ravel()
    scores = scores.assign(rel_MASE=relative, rel_WQL=relative, coverage_error=0.0, seconds=0.0, not_finite=0)
    ours = BenchmarkResult(scores=scores, baseline="seasonal-naive", seed=5).summary().loc[models]
    for name, column in (("skill", "skill_score"), ("win_rate", "win_rate")):
        for end in ("", "_lower", "_upper"):
            theirs = board.loc[models, f"{column}{end}"].to_numpy(float)
            np.testing.assert_allclose(ours[f"{name}{end}"], theirs, rtol=1e-6, atol=1e-12)


# --------------------------------------------------------------------------------------------------- the outside judge


JUDGE = SHARED / "bench" / "zero_shot.py"
needs_judge = pytest.mark.skipif(not JUDGE.is_file(), reason=f"no {JUDGE}")


@needs_judge
def test_scores_are_those_of_the_outside_judge(tmp_path, tiny_release, monkeypatch, capsys):
    """Through the command line, on a set of which one series has no start and outruns nanosecond stamps."""
    monkeypatch.chdir(tmp_path)
    data, names = str(SHARED / "data" / "dev_eval"), ["owid_yearly_sample", "wiki_pageviews_daily"]
    common = ["--model", str(tiny_release), "--only", *names, "--limit", "60"]
    monkeypatch.setattr(sys, "argv", ["zero_shot.py", "--data", data, *common, "--json", "judge.json"])
    runpy.run_path(str(JUDGE), run_name="__main__")
    judge = json.loads((tmp_path / "judge.json").read_text())
    capsys.readouterr()
    assert main(["benchmark", data, *common, "--output", "out"]) == 0
    printed = capsys.readouterr().out
    scores = pd.read_csv(tmp_path / "out" / "scores.csv").query("model != 'seasonal-naive'").set_index("set")
    rows = next(value for value in judge.values() if isinstance(value, list))
    assert [row["set"] for row in rows] == names
    for row in rows:
        assert f"| {row['set']} | 1.000 | {row['rel_MASE']:.3f} |" in printed
        for metric in ("MASE", "WQL", "rel_MASE", "rel_WQL"):
            assert scores.loc[row["set"], metric] == pytest.approx(row[metric], **CLOSE)
        assert scores.loc[row["set"], "not_finite"] == row["not_finite"]
