"""Every command of docs/cli.md runs as it stands there (with a very small model), and writes what it says."""

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tsar.cli import main, make_parser

PAGE = Path(__file__).parent.parent.parent / "docs" / "cli.md"
COMMANDS = [
    line
    for block in re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]
WITHOUT_MODEL = ("models", "doctor")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A table with a gap, a missing value and an outlier, its future, and an evaluation set."""
    folder = tmp_path_factory.mktemp("cli")
    days = pd.date_range("2024-01-01", periods=127, freq="D")
    rng = np.random.default_rng(0)
    parts = []
    for item in range(3):
        promotion = (np.arange(127) % 9 == item).astype(int)
        wave = 100 + 20 * item + 30 * np.sin(2 * np.pi * np.arange(127) / 7) + 40 * promotion
        values = np.where(days.dayofweek == 6, 0, wave + rng.normal(0, 3, 127)).round()
        parts.append(pd.DataFrame({"item_id": f"s{item}", "timestamp": days, "target": values, "promotion": promotion}))
    parts[1].loc[60, "target"] = np.nan
    parts[2].loc[100, "target"] = 400.0
    table = pd.concat([part[:120] for part in parts]).drop(index=[30, 31]).reset_index(drop=True)
    table.to_csv(folder / "sales.csv", index=False)
    table.to_parquet(folder / "sales.parquet")
    future = pd.concat([part[120:] for part in parts]).drop(columns="target")
    future.to_csv(folder / "planned.csv", index=False)
    row = {"item_id": "a", "start": days[0], "freq": "D", "target": np.arange(60.0) % 7, "prediction_length": 7}
    (folder / "sets").mkdir()
    pd.DataFrame([{**row, "seasonality": 7}]).to_parquet(folder / "sets" / "a.parquet")
    return folder


def run(command, folder, model, monkeypatch):
    monkeypatch.chdir(folder)
    arguments = shlex.split(command)[1:]
    if arguments[0] not in WITHOUT_MODEL and "--forecaster" not in arguments:
        arguments += ["--model", str(model)]
    if arguments[0] == "embed":
        arguments += ["--length", "64"]  # as much as the small model reads
    return main(arguments)


def test_every_command_has_an_example():
    shown = {shlex.split(command)[1] for command in COMMANDS}
    assert shown == {
        "forecast", "finetune", "backtest", "impute", "detect", "embed", "explain", "report", "benchmark", "bench",
        "export",
        "models", "doctor",
    }  # fmt: skip


def test_the_table_lists_every_command():
    rows = [line.split(" | ")[0] for line in PAGE.read_text().splitlines() if line.startswith("| `tsar ")]
    listed = [command for row in rows for command in re.findall(r"`tsar (\w+)`", row)]
    commands = next(one.choices for one in make_parser()._actions if one.choices and one.dest != "help")
    assert sorted(listed) == sorted(commands)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.filterwarnings("ignore::tsar.errors.TsarWarning")
def test_command_runs_and_writes(command, folder, tiny_release, monkeypatch, capsys):
    if "--forecaster tuned" in command and not (folder / "tuned").exists():
        run(next(one for one in COMMANDS if "--output tuned" in one), folder, tiny_release, monkeypatch)
    written = [folder / name for name in re.findall(r"--(?:output|plot|intervals) (\S+)", command)]
    for path in written:
        if path.is_file():
            path.unlink()
    assert run(command, folder, tiny_release, monkeypatch) == 0
    out, err = capsys.readouterr()
    assert "error" not in err
    assert all(path.exists() for path in written)
    assert written or out


@pytest.mark.filterwarnings("ignore::tsar.errors.TsarWarning")
def test_whole_numbers_within_bounds_and_none_on_sundays(folder, tiny_release, monkeypatch):
    command = next(one for one in COMMANDS if "--integer" in one)
    assert run(command, folder, tiny_release, monkeypatch) == 0
    table = pd.read_csv(folder / "forecast.csv", parse_dates=["timestamp"])
    numbers = table[["predictions", "0.1", "0.9"]].to_numpy()
    assert (numbers == numbers.round()).all()
    assert ((numbers >= 0) & (numbers <= 500)).all()
    assert (numbers[table["timestamp"].dt.dayofweek == 6] == 0).all()
