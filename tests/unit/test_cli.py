"""The command line says what is wrong in one line, with an exit code, before it does any work."""

import subprocess
import sys

import pytest

import tsar
from tsar.cli import main, make_parser

TABLE = "item_id,timestamp,target\n" + "".join(f"a,2024-01-0{day},{day}\n" for day in range(1, 8))


def error_line(capsys) -> str:
    """The one line on standard error; nothing on standard output."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("tsar: error: ")
    assert err.count("\n") == 1
    return err


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(TABLE)
    return path


@pytest.mark.parametrize(
    "command",
    [
        "forecast", "finetune", "backtest", "impute", "detect", "embed", "report", "benchmark", "pretrain", "models",
        "doctor",
    ],
)  # fmt: skip
def test_help_of_every_command(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert f"usage: tsar {command}" in capsys.readouterr().out


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"tsar {tsar.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["forcast"], ["forecast"], ["forecast", "a.csv", "--prediction", "3"]])
def test_wrong_usage_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert "usage: tsar" in err
    assert err.count("\n") == 1, "one line, which says where the options are listed"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--horizon", "3"], "unknown arguments: --horizon 3. Hint: for usage: tsar forecast --help"),
        (["--quantile-levels", "0.1,0.9"], "'0.1,0.9' is no number; write several with spaces: 0.1 0.5 0.9"),
    ],
)
def test_wrong_arguments_are_named(arguments, words, capsys):
    with pytest.raises(SystemExit):
        main(["forecast", "a.csv", *arguments])
    assert words in capsys.readouterr().err


def test_hints_speak_of_options_and_not_of_arguments(tmp_path, capsys):
    table = tmp_path / "one.csv"
    table.write_text("item_id,timestamp,target\na,2024-01-01,1\n")
    assert main(["forecast", str(table)]) == 2
    assert "pass --freq, for example --freq D (" in error_line(capsys)
    assert main(["report", str(table), "--target", "a,b", "--output", str(tmp_path / "r.html")]) == 2
    assert "choose one of them with --target." in error_line(capsys)


def test_names_that_nobody_has_list_those_that_there_are(tmp_path, capsys):
    table = tmp_path / "few.csv"
    table.write_text("item_id,timestamp,target\na,2024-01-01,1\na,2024-01-02,2\na,2024-01-03,3\n")
    assert main(["backtest", str(table), "--against", "prophet"]) == 2
    assert "no model or baseline 'prophet'. Hint: Baselines: seasonal-naive, drift, ets, theta" in error_line(capsys)
    assert main(["pretrain", "tsar-tinny"]) == 2
    assert "There is no recipe tsar-tinny. Hint: Give a YAML file, or one of" in error_line(capsys)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.csv"], "no file missing.csv"),
        (["{table}", "--output", "out.xlsx"], "must end in one of .csv, .parquet"),
        (["{table}", "--plot", "out.csv"], "must end in one of .png"),
        (["{table}", "--output", "nowhere/out.csv"], "folder that does not exist"),
        (["{table}", "--model", "tsar-giant"], "model.unknown_name"),
        (["{table}", "--target", "sales"], "frame.missing_column"),
        (["{table}", "--quantile-levels", "0.5", "1.5"], "option.quantile_level"),
    ],
)
def test_unusable_input_is_one_line_and_2(arguments, words, table, capsys):
    filled = [argument.format(table=table) for argument in arguments]
    assert main(["forecast", *filled, "--prediction-length", "2"]) == 2
    assert words in error_line(capsys)


@pytest.mark.parametrize(
    ("name", "content"), [("empty.csv", b""), ("broken.parquet", b"PAR1 not"), ("b.csv", b"\xff\xfe\x00")]
)
def test_unreadable_table_is_named(name, content, tmp_path, capsys):
    path = tmp_path / name
    path.write_bytes(content)
    assert main(["forecast", str(path), "--prediction-length", "2"]) == 2
    assert f"{path} cannot be read" in error_line(capsys)


@pytest.mark.parametrize(("text", "value"), [("auto", "auto"), ("64", 64)])
def test_batch_size(text, value):
    options = make_parser().parse_args(["forecast", "a.csv", "--prediction-length", "2", "--batch-size", text])
    assert options.batch_size == value


def test_bad_batch_size_is_explained(capsys):
    with pytest.raises(SystemExit):
        main(["forecast", "a.csv", "--prediction-length", "2", "--batch-size", "many"])
    assert "'many' is neither auto nor a whole number" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--debug", "models"], ["models", "--debug"]])
def test_debug_is_taken_before_and_after_the_command(arguments):
    assert make_parser().parse_args(arguments).debug


def test_debug_shows_the_traceback(capsys):
    assert main(["forecast", "missing.csv", "--prediction-length", "2", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_unexpected_error_is_one_line_and_1(capsys, monkeypatch):
    def broken():
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("tsar.registry.list_models", broken)
    assert main(["models"]) == 1
    assert "unexpected RuntimeError: two lines" in error_line(capsys)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.yaml"], "recipe.missing_file"),
        (["{recipe}", "--set", "train.stepz=3"], "train.stepz"),
        (["{recipe}", "--set", "train.steps"], "recipe.bad_value"),
        (["{recipe}", "--set", "train.precision=fp8"], "recipe.bad_value"),
    ],
)
def test_unusable_recipe_is_one_line_and_2(arguments, words, tmp_path, capsys):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("name: r\n")
    filled = [argument.format(recipe=recipe) for argument in arguments]
    assert main(["pretrain", *filled, "--run-dir", str(tmp_path / "run")]) == 2
    assert words in error_line(capsys)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "benchmark.missing_set"),
        (["{table}"], "cannot be read"),
        (["{sets}", "--only", "b"], "There is no set b"),
        (["{sets}", "--limit", "0"], "limit must be a whole number"),
        (["{sets}", "--model", "tsar-giant"], "model.unknown_name"),
        (["{sets}", "--output", "{folder}"], "is there already and no benchmark result"),
    ],
)
def test_unusable_benchmark_is_one_line_and_2(arguments, words, table, tmp_path, capsys):
    import pandas as pd

    row = {"item_id": "a", "start": None, "freq": "D", "target": list(range(9)), "prediction_length": 2}
    (tmp_path / "sets").mkdir()
    pd.DataFrame([{**row, "seasonality": 1}]).to_parquet(tmp_path / "sets" / "a.parquet")
    filled = [argument.format(table=table, sets=tmp_path / "sets", folder=tmp_path) for argument in arguments]
    assert main(["benchmark", *filled]) == 2
    assert words in error_line(capsys)


def test_models_lists_the_releases(capsys):
    assert main(["models"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        one.name for one in tsar.list_models()
    ]


def test_reader_that_stops_early_is_no_error():
    code = "import sys; from tsar.cli import main; sys.exit(main(['models']))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    _, err = process.communicate()
    assert (process.returncode, err) == (0, b"")


def test_the_coarse_view_can_be_chosen(table, capsys):
    assert make_parser().parse_args(["forecast", "a.csv"]).downsample == "auto"
    assert main(["forecast", str(table), "--prediction-length", "2", "--downsample", "0"]) == 2
    assert "downsample must be a whole number from 1" in error_line(capsys)
    assert main(["forecast", str(table), "--prediction-length", "2", "--downsample", "7"]) == 0
