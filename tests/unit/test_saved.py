"""A saved forecaster is the same forecaster elsewhere, and a damaged one is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

from tests.unit.panel_examples import NUMBERS, code_of, make_panel
from tsar import Forecaster, load_model
from tsar.registry import find_model

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def panel():
    return make_panel()


@pytest.fixture(scope="module")
def forecast(panel):
    return Forecaster(prediction_length=12).fit(panel).predict()


IN_A_FRESH_PROCESS = """
import sys, pandas as pd
from tsar import Forecaster
Forecaster.load(sys.argv[1]).predict().to_pickle(sys.argv[2])
"""


def test_saved_and_loaded_elsewhere_it_forecasts_the_same_bits(panel, tmp_path):
    forecaster = Forecaster(prediction_length=70, quantile_levels=(0.9, 0.05)).fit(panel)
    expected = forecaster.predict()
    forecaster.save(tmp_path / "saved")
    moved = (tmp_path / "saved").rename(tmp_path / "moved")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, "-W", "error", "-c", IN_A_FRESH_PROCESS, str(moved), str(tmp_path / "out.pkl")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pd.testing.assert_frame_equal(pd.read_pickle(tmp_path / "out.pkl"), expected, check_exact=True)


def test_a_decoder_can_be_saved(panel, forecast, tmp_path):
    Forecaster(model=load_model("tsar-tiny"), prediction_length=12).fit(panel).save(tmp_path / "saved")
    pd.testing.assert_frame_equal(Forecaster.load(tmp_path / "saved").predict(), forecast, check_exact=True)


def test_saved_unfitted_and_saved_twice(panel, tmp_path, forecast):
    forecaster = Forecaster(prediction_length=12)
    forecaster.save(tmp_path / "deep" / "saved")
    loaded = Forecaster.load(tmp_path / "deep" / "saved")
    assert code_of(loaded.predict) == "forecaster.not_fitted"
    pd.testing.assert_frame_equal(loaded.predict(panel), forecast)
    loaded.fit(panel).save(tmp_path / "deep" / "saved")  # over the folder that its own weights are read from
    pd.testing.assert_frame_equal(Forecaster.load(tmp_path / "deep" / "saved").predict(), forecast)


@pytest.mark.parametrize("kind", [pl.from_pandas, lambda frame: pa.Table.from_pandas(frame, preserve_index=False)])
def test_saved_polars_and_arrow_answer_in_kind(panel, forecast, tmp_path, kind):
    given = kind(panel)
    Forecaster(prediction_length=12).fit(given).save(tmp_path / "saved")
    result = Forecaster.load(tmp_path / "saved").predict()
    assert type(result) is type(given)
    np.testing.assert_array_equal(result.to_pandas()[NUMBERS], forecast[NUMBERS])


@pytest.fixture(scope="module")
def saved(panel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("forecaster") / "saved"
    Forecaster().fit(panel).save(folder)
    return folder


@pytest.mark.parametrize(
    "name", ["options.json", "history.bin", "model/config.json", "model/model.safetensors", "manifest.json"]
)
@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_damaged_folders(saved, tmp_path, name, damage):
    """Found at `load`, before any number comes out."""
    for file in (path for path in saved.rglob("*") if path.is_file()):
        copied = tmp_path / file.relative_to(saved)
        copied.parent.mkdir(exist_ok=True)
        copied.write_bytes(file.read_bytes())
    path = tmp_path / name
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content[:-9] if damage == "cut" else content[:20] + b"\x00" + content[21:])
    expected = {"gone": "release.missing_file"}.get(damage, "release.bad_hash")
    if name == "manifest.json" and damage != "gone":
        expected = "release.bad_manifest"
    assert code_of(Forecaster.load, tmp_path) == expected


def test_folders_that_are_no_forecaster(tmp_path):
    assert code_of(Forecaster.load, tmp_path) == "release.missing_file"
    assert code_of(Forecaster.load, tmp_path / "nowhere") == "release.missing_file"
    assert code_of(Forecaster.load, find_model("tsar-tiny")) == "release.bad_manifest"
