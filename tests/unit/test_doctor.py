"""`tsar doctor`: everything that ships passes, and what is damaged is named."""

import shutil
from importlib.metadata import version

from tsar.cli import main
from tsar.doctor import _check_forecast, _check_release, _describe_packages, _run
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


def state_requirements(folder, *requirements):
    """Write the metadata of an installed tsar-forecast that needs these."""
    info = folder / "tsar_forecast-0.dist-info"
    info.mkdir()
    lines = [
        "Metadata-Version: 2.1",
        "Name: tsar-forecast",
        "Version: 0",
        *(f"Requires-Dist: {one}" for one in requirements),
    ]
    (info / "METADATA").write_text("\n".join(lines))


def test_packages_outside_their_range_are_named(tmp_path, monkeypatch):
    state_requirements(tmp_path, "numpy>=1", "pandas>=999", "tsar-has-no-such-need>=2", 'torch>=999; extra == "later"')
    monkeypatch.syspath_prepend(tmp_path)
    check = _run("packages", _describe_packages)
    assert not check.passed
    assert check.detail == (
        f"ValueError: pandas {version('pandas')} (needs >=999), tsar-has-no-such-need missing (needs >=2)"
    )


def test_packages_within_their_ranges_are_listed(tmp_path, monkeypatch):
    state_requirements(tmp_path, "numpy>=1", "pandas<999")
    monkeypatch.syspath_prepend(tmp_path)
    assert _describe_packages() == f"numpy {version('numpy')}, pandas {version('pandas')}"


def test_a_folder_that_was_not_installed_is_said(monkeypatch):
    monkeypatch.setattr("tsar.doctor.DISTRIBUTION", "tsar-forecast-of-nobody")
    assert _describe_packages().startswith("not checked: ")
