"""`tsar doctor`: everything that ships passes, and what is damaged is named."""

import shutil

from tsar.cli import main
from tsar.doctor import _check_forecast, _check_release, _run
from tsar.registry import list_models


def test_what_ships_passes(capsys):
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("ok ") for line in lines)
    forecasting = [release for release in list_models() if release.task == "forecast"]
    assert sum(" steps of one series in " in line for line in lines) == len(forecasting) > 0
    assert sum("files match their sha256" in line for line in lines) == len(list_models())


def test_a_flipped_bit_is_named_and_ends_nothing(tiny_release, tmp_path):
    damaged = shutil.copytree(tiny_release, tmp_path / "damaged")
    content = bytearray((damaged / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (damaged / "model.safetensors").write_bytes(content)
    check = _run("test-tiny", lambda: _check_release(damaged))
    assert not check.passed
    assert "model.safetensors" in check.detail
    assert _run("test-tiny", lambda: _check_release(tiny_release)).passed


def test_a_forecast_that_cannot_be_made_is_a_finding(tmp_path):
    check = _run("forecast", lambda: _check_forecast(tmp_path / "none"))
    assert not check.passed
    assert check.detail.startswith("ModelError: There is no release folder")
