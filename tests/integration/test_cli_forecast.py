"""`tsar forecast` from a file to a file."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tsar import Forecaster
from tsar.cli import main

ROOT = Path(__file__).parent.parent.parent
LEVELS = ["0.1", "0.5", "0.9"]


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def tsar(*arguments):
    return main(["forecast", *map(str, arguments)])


@pytest.fixture
def table():
    days = pd.date_range("2024-01-01", periods=60, freq="D")
    wave = 10 + np.sin(2 * np.pi * np.arange(60) / 7)
    parts = [
        pd.DataFrame({"item_id": item_id, "timestamp": days, "target": scale * wave})
        for item_id, scale in (("007", 1.0), ("b", 50.0))
    ]
    return pd.concat(parts, ignore_index=True)


def test_csv_in_csv_out_equals_python(table, tiny_release, tmp_path):
    table.to_csv(tmp_path / "in.csv", index=False)
    options = ["--prediction-length", 5, "--model", tiny_release, "--quantile-levels", *LEVELS]
    command = [sys.executable, "-m", "tsar.cli", "forecast", "in.csv", *map(str, options)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command += ["--output", "out.csv", "--plot", "out.png"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    result = pd.read_csv(tmp_path / "out.csv", dtype={"item_id": str}, parse_dates=["timestamp"])
    forecaster = Forecaster(model=tiny_release, prediction_length=5, quantile_levels=[0.1, 0.5, 0.9])
    expected = forecaster.fit(table).predict()
    pd.testing.assert_frame_equal(result, expected, check_dtype=False, check_index_type=False, rtol=1e-9)
    assert result["item_id"].unique().tolist() == ["007", "b"]
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


def test_parquet_with_other_columns_equals_csv(table, tiny_release, tmp_path):
    names = {"item_id": "meter", "timestamp": "day", "target": "kwh"}
    table.rename(columns=names).to_parquet(tmp_path / "in.parquet")
    table.to_csv(tmp_path / "in.csv", index=False)
    options = ["--prediction-length", 5, "--model", tiny_release, "--context-length", 32, "--batch-size", 1]
    columns = ["--id-column", "meter", "--timestamp-column", "day", "--target", "kwh"]
    assert tsar("in.parquet", *options, *columns, "--output", "out.parquet") == 0
    assert tsar("in.csv", *options, "--output", "out.csv") == 0
    from_parquet = pd.read_parquet(tmp_path / "out.parquet")
    assert from_parquet.columns[:4].tolist() == ["meter", "day", "target_name", "predictions"]
    from_csv = pd.read_csv(tmp_path / "out.csv")
    np.testing.assert_allclose(from_parquet["predictions"], from_csv["predictions"], rtol=1e-9)


def test_one_series_without_ids_to_standard_output(table, tiny_release, tmp_path, capsys):
    table[table["item_id"] == "b"].drop(columns="item_id").to_csv(tmp_path / "in.csv", index=False)
    options = ["--prediction-length", 3, "--model", tiny_release, "--id-column", "", "--quantile-levels", 0.5]
    assert tsar("in.csv", *options, "--plot", "out.svg") == 0
    out, err = capsys.readouterr()
    assert (len(out.splitlines()), err) == (1 + 3, "")
    assert (tmp_path / "out.svg").stat().st_size > 0


def test_repairs_are_one_line_warnings(table, tiny_release, tmp_path, capsys):
    table.drop(index=[10, 11]).to_csv(tmp_path / "in.csv", index=False)
    assert tsar("in.csv", "--prediction-length", 3, "--model", tiny_release, "--output", "out.csv") == 0
    err = capsys.readouterr().err
    assert err.startswith("tsar: warning: ")
    assert err.count("\n") == 1


@pytest.mark.slow
def test_choices_of_inference_are_those_of_python(table, tiny_release, tmp_path):
    table["target"] = (table["target"] - 10).clip(0)  # so that low quantiles fall below zero
    table.to_csv(tmp_path / "in.csv", index=False)
    common = ["in.csv", "--prediction-length", 5, "--model", tiny_release, "--quantile-levels", 0.001, 0.5, "--output"]
    assert tsar(*common, "plain.csv", "--no-symmetrize", "--allow-negative", "--context-length", "32,16") == 0
    assert tsar(*common, "both.csv", "--ensemble", "classical") == 0
    read = {"dtype": {"item_id": str}, "parse_dates": ["timestamp"]}
    given = pd.read_csv("in.csv", **read)

    def expected(**options):
        return Forecaster(tiny_release, prediction_length=5, quantile_levels=[0.001, 0.5], **options).predict(given)

    same = {"check_dtype": False, "check_index_type": False, "rtol": 1e-9}
    plain, both = pd.read_csv("plain.csv", **read), pd.read_csv("both.csv", **read)
    asked = expected(symmetrize=False, non_negative=False, context_length=[32, 16])
    pd.testing.assert_frame_equal(plain, asked, **same)
    pd.testing.assert_frame_equal(both, expected(ensemble="classical"), **same)
    assert (plain["0.001"] < 0).any()
    assert (both["0.001"] >= 0).all()
