"""The commands say what Python says: options become arguments, and what cannot go together is refused in one line."""

import numpy as np
import pandas as pd
import pytest

import tsar
from tsar import Forecaster
from tsar.cli import main, make_parser
from tsar.cli.options import MODES, forecaster_arguments
from tsar.ranking import NAMED, leaderboard
from tsar.training import tune_config

READ = {"dtype": {"item_id": str}, "parse_dates": ["timestamp"]}
pytestmark = pytest.mark.filterwarnings("ignore::tsar.errors.TsarWarning")


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    days = pd.date_range("2024-01-01", periods=90, freq="D")
    wave = 20 + 5 * np.sin(2 * np.pi * np.arange(90) / 7)
    parts = [
        pd.DataFrame({"item_id": name, "timestamp": days, "target": (wave + rng.normal(0, 1, 90)).round(3)})
        for name in ("007", "b")
    ]
    table = pd.concat(parts, ignore_index=True)
    table["promotion"] = np.arange(180) % 4 == 0
    table["ceiling"] = 21.5
    table.to_csv("in.csv", index=False)
    return pd.read_csv("in.csv", **READ)


def run(*arguments):
    return main([str(argument) for argument in arguments])


def error_line(capsys):
    out, err = capsys.readouterr()
    assert out == ""
    lines = [line for line in err.splitlines() if not line.startswith("tsar: warning: ")]
    assert len(lines) == 1
    assert lines[0].startswith("tsar: error: ")
    return lines[0]


def same_table(left, right):
    pd.testing.assert_frame_equal(left, right, check_dtype=False, check_index_type=False, rtol=1e-9)


def test_without_options_a_forecaster_has_its_own_defaults():
    given = forecaster_arguments(make_parser().parse_args(["forecast", "a.csv"]))
    assert Forecaster(**given).get_params() == Forecaster().get_params()


def test_every_argument_of_a_forecaster_has_an_option():
    text = "forecast a.csv --quantile-levels 0.5 --calibrate split --mode lora --fine-tune max_steps=5 time_limit=None "
    text += "learning_rate=1e-3 --lower 0 --upper ceiling --integer auto --closed-hours 1 2 --closed auto"
    given = forecaster_arguments(make_parser().parse_args(text.split()))
    assert set(given) == set(Forecaster().get_params())
    assert given["fine_tune"] == {"max_steps": 5, "time_limit": None, "learning_rate": 1e-3}
    assert given["constraints"] == {
        "lower": 0.0, "upper": "ceiling", "integer": "auto", "closed_hours": [1, 2], "closed": "auto",
    }  # fmt: skip


def test_adapting_and_examples_equal_python(table, tiny_release):
    table.assign(item_id="x" + table["item_id"]).to_csv("other.csv", index=False)
    options = ["--model", tiny_release, "--prediction-length", 5, "--no-follow-period", "--output", "out.csv"]
    assert run("forecast", "in.csv", *options, "--examples", "other.csv", "--neighbours", 3, "--adapt-steps", 2) == 0
    forecaster = Forecaster(tiny_release, prediction_length=5, follow_period=False).fit(table)
    expected = forecaster.predict(examples=pd.read_csv("other.csv", **READ), neighbours=3, adapt_steps=2)
    same_table(pd.read_csv("out.csv", **READ), expected)


def test_names_that_the_parser_lists_are_those_of_python():
    from tsar.cli.backtesting import BASELINES

    assert MODES == tune_config.MODES
    assert set(BASELINES) == set(NAMED)


@pytest.mark.slow
def test_forecast_with_covariates_calibration_and_bounds_equals_python(table, tiny_release):
    past, ahead = table[table["timestamp"] < "2024-03-23"], table[table["timestamp"] >= "2024-03-23"]
    past.to_csv("past.csv", index=False)
    ahead[["item_id", "timestamp", "promotion"]].to_csv("ahead.csv", index=False)
    code = run(
        "forecast", "past.csv", "--model", tiny_release, "--prediction-length", 5, "--future-covariates", "promotion",
        "--future", "ahead.csv", "--calendar", "--calibrate", "--upper", "ceiling", "--gap", 1, "--output", "out.csv",
    )  # fmt: skip
    assert code == 0
    forecaster = Forecaster(
        tiny_release, prediction_length=5, future_covariates=["promotion"], calendar=True, calibrate=True, gap=1,
        constraints={"upper": "ceiling"},
    )  # fmt: skip
    future = pd.read_csv("ahead.csv", **READ)
    same_table(
        pd.read_csv("out.csv", **READ), forecaster.fit(pd.read_csv("past.csv", **READ)).predict(future_df=future)
    )


@pytest.fixture
def tuned(table, tiny_release, capsys):
    common = ["--mode", "lora", "--prediction-length", 5, "--model", tiny_release, "--fine-tune", "max_steps=40"]
    assert run("finetune", "in.csv", *common, "--output", "tuned") == 0
    return capsys.readouterr().out


def test_finetune_prints_scores_and_saves_what_forecasts(table, tuned, tiny_release):
    lines = dict(line.split(maxsplit=1) for line in tuned.replace("weights ", "weights-").splitlines())
    assert lines["mode"] == "lora"
    assert "%" in lines["weights-trained"]
    assert {"zero-shot", "tuned", "saved"} <= set(lines)
    assert run("forecast", "in.csv", "--forecaster", "tuned", "--output", "with.csv") == 0
    assert run("forecast", "--forecaster", "tuned", "--output", "without.csv") == 0
    expected = Forecaster.load("tuned").predict()
    same_table(pd.read_csv("with.csv", **READ), expected)
    same_table(pd.read_csv("without.csv", **READ), expected)


def test_an_adapter_goes_back_on_its_model(table, tiny_release, capsys):
    model = ["--model", tiny_release, "--prediction-length", 5]
    tune = ["--mode", "head", "--fine-tune", "max_steps=60", "--adapter-only", "--output", "adapter"]
    assert run("finetune", "in.csv", *model, *tune) == 0
    assert "fell back" not in capsys.readouterr().out
    assert run("forecast", "in.csv", *model, "--adapter", "adapter", "--output", "out.csv") == 0
    expected = Forecaster(tiny_release, prediction_length=5).load_adapter("adapter").predict(table)
    same_table(pd.read_csv("out.csv", **READ), expected)
    assert not np.allclose(
        expected["predictions"], Forecaster(tiny_release, prediction_length=5).predict(table)["predictions"]
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["forecast", "in.csv", "--forecaster", "tuned", "--gap", "2"], "--gap is an option of the saved forecaster"),
        (["forecast", "in.csv", "--forecaster", "tuned", "--calendar"], "--calendar is an option of the saved"),
        (["forecast", "in.csv", "--forecaster", "nowhere"], "release.missing_file"),
        (["forecast", "in.csv", "--adapter", "nowhere", "--calibrate"], "--calibrate would need another fit"),
        (["forecast", "--forecaster", "tuned", "--plot", "a.png"], "--plot draws the history of INPUT"),
        (["forecast", "in.csv", "--future", "nowhere.csv"], "no file nowhere.csv"),
        (["forecast", "in.csv", "--future-covariates", "promotion"], "covariate.missing_future"),
        (["forecast", "in.csv", "--mode", "lora", "--fine-tune", "steps=3"], "option.invalid"),
        (["forecast", "in.csv", "--closed-hours", "25"], "option.invalid"),
        (["finetune", "in.csv", "--mode", "zero_shot", "--output", "x"], "trains nothing"),
        (["finetune", "in.csv", "--output", "full"], "is there already and holds something else"),
        (["finetune", "in.csv", "--output", "x", "--validation", "no.csv"], "no file no.csv"),
        (["backtest", "in.csv", "--windows", "0"], "option.invalid"),
        (["backtest", "in.csv", "--prediction-length", "80", "--windows", "1", "--gap", "9"], "backtest.too_short"),
        (["backtest", "in.csv", "--against", "oracle"], "model.unknown_name"),
        (["backtest", "in.csv", "--gap", "2", "--against", "theta", "tsar-tiny"], "--against tsar-tiny has the name"),
        (["embed", "in.csv", "--pooling", "median"], "option.invalid"),
        (["embed", "in.csv", "--output", "a.txt"], "must end in one of"),
        (["impute", "in.csv", "--sides", "above"], "option.invalid"),
        (["impute", "in.csv", "--target", "sales"], "frame.missing_column"),
        (["detect", "in.csv", "--contamination", "0.7"], "option.invalid"),
        (["detect", "in.csv", "--plot", "nowhere/a.png"], "folder that does not exist"),
        (["report", "in.csv", "--output", "a.pdf"], "must end in one of .html"),
        (["report", "in.csv", "--output", "a.html", "--items", "0"], "option.invalid"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_line_with_a_code(arguments, words, table, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    assert run(*arguments) == 2
    line = error_line(capsys)
    assert words in line
    assert line.rstrip().endswith("]")


def test_backtest_prints_the_leaderboard_and_writes_every_forecast(table, tiny_release, capsys):
    common = ["--prediction-length", 5, "--model", tiny_release, "--windows", 2, "--against", "seasonal-naive", "drift"]
    assert run("backtest", "in.csv", *common, "--output", "out.csv", "--plot", "out.png") == 0
    models = {
        "test-tiny": Forecaster(tiny_release, prediction_length=5),
        "seasonal-naive": "seasonal-naive",
        "drift": "drift",
    }
    expected = leaderboard(table, models, prediction_length=5, windows=2)
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == list(expected.table.columns)
    assert [line[0] for line in lines[2:]] == expected.table["model"].tolist()
    np.testing.assert_allclose([float(line[1]) for line in lines[2:]], expected.table["MASE"], rtol=1e-3)
    written = pd.read_csv("out.csv", **READ)
    assert written.groupby("model").size().to_dict() == dict.fromkeys(models, 2 * 2 * 5)
    own = written[written["model"] == "test-tiny"].drop(columns="model").reset_index(drop=True)
    frame = expected.results["test-tiny"].forecasts.reset_index(drop=True)
    np.testing.assert_allclose(own["predictions"], frame["predictions"], rtol=1e-9)


def test_embed_impute_and_detect_equal_python(table, tiny_release):
    table.loc[[20, 21, 120], "target"] = np.nan
    table.loc[70, "target"] = 90.0
    table.to_csv("in.csv", index=False)
    model = ["--model", tiny_release]
    assert run("embed", "in.csv", *model, "--length", "none", "--no-statistics", "--output", "e.csv") == 0
    assert run("impute", "in.csv", *model, "--quantile-levels", 0.1, 0.9, "--output", "i.csv") == 0
    assert run("detect", "in.csv", *model, "--output", "d.csv", "--intervals", "x.csv", "--plot", "d.svg") == 0
    vectors = tsar.embed(table, model=tiny_release, length=None, statistics=False)
    same_table(pd.read_csv("e.csv", **READ | {"parse_dates": []}), vectors)
    same_table(pd.read_csv("i.csv", **READ), tsar.impute(table, tiny_release, quantile_levels=[0.1, 0.9]))
    points, intervals = tsar.detect_anomalies(table, tiny_release, explain=True)
    same_table(pd.read_csv("d.csv", **READ), points)
    assert len(pd.read_csv("x.csv")) == len(intervals)


def test_explain_equals_python(table, tiny_release, tmp_path):
    table.to_csv("in.csv", index=False)
    options = ["--model", tiny_release, "--prediction-length", 5, "--segments", 3, "--blocks", 2]
    assert run("explain", "in.csv", *options, "--output", "w.csv", "--plot", "w.png") == 0
    forecaster = tsar.Forecaster(tiny_release, prediction_length=5).fit(table)
    same_table(pd.read_csv("w.csv", **READ), tsar.explain(forecaster, segments=3, blocks=2))
    assert (tmp_path / "w.png").stat().st_size > 10_000


def test_the_report_states_its_command(table, tiny_release, tmp_path):
    options = ["--model", tiny_release, "--prediction-length", 5, "--windows", 1, "--against", "seasonal-naive"]
    assert run("report", "in.csv", *options, "--output", "r.html", "--title", "a b") == 0
    assert "--title &#x27;a b&#x27;" in (tmp_path / "r.html").read_text()
