"""`tsar doctor`: everything that ships passes, and what is damaged is named."""

import re
import shutil
from importlib.metadata import version

import tsar.doctor
from tsar.cli import main
from tsar.doctor import _check_forecast, _check_release, _run, problem_of
from tsar.registry import broken_releases, list_models


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


def test_a_package_that_is_missing_broken_or_too_old_is_named(tmp_path, monkeypatch):
    assert problem_of("numpy", ">=1.26") is None
    assert problem_of("scikit-learn", ">=1.6") is None
    assert problem_of("no-such-package") == "no-such-package is missing"
    assert re.fullmatch(r"numpy is [\d.]+, and >=99 is needed", problem_of("numpy", ">=99"))
    for name, code in {"broken": "import no_such_module", "other": "__version__ = '0.9'"}.items():
        (tmp_path / f"{name}.py").write_text(code)
        (tmp_path / f"{name}-2.0.dist-info").mkdir()
        (tmp_path / f"{name}-2.0.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: 2.0\n")
    (tmp_path / "hollow").mkdir()
    (tmp_path / "hollow-2.0.dist-info").mkdir()
    (tmp_path / "hollow-2.0.dist-info" / "METADATA").write_text("Name: hollow\nVersion: 2.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert problem_of("broken") == "broken cannot be imported (ModuleNotFoundError: No module named 'no_such_module')"
    assert problem_of("other", ">=1") == "other is 0.9, and >=1 is needed"
    assert "hollow is an empty folder" in problem_of("hollow")


def test_the_remedy_is_a_command(monkeypatch):
    monkeypatch.setitem(tsar.doctor.MODULES, "numpy", "no_such_module")
    check = next(check for check in tsar.doctor.run_checks() if check.name == "packages")
    assert not check.passed
    assert "numpy cannot be imported" in check.detail
    assert re.search(r"Hint: pip install --force-reinstall --no-deps 'numpy>=[\d.]+'; then doctor again$", check.detail)


def test_a_release_without_its_manifest_is_named(tiny_release, tmp_path, monkeypatch):
    folder = shutil.copytree(tiny_release, tmp_path / "lost")
    monkeypatch.setattr("tsar.registry.ZOO_FOLDERS", (*tsar.registry.ZOO_FOLDERS, tmp_path))
    assert broken_releases() == []
    (folder / "manifest.json").unlink()
    assert broken_releases() == [folder]
    check = next(check for check in tsar.doctor.run_checks() if check.name == "lost")
    assert not check.passed
    assert "has no manifest.json" in check.detail
    assert "--force-reinstall" in check.detail


def test_a_forecast_that_cannot_be_made_is_a_finding(tmp_path):
    check = _run("forecast", lambda: _check_forecast(tmp_path / "none"))
    assert not check.passed
    assert check.detail.startswith("ModelError: There is no release folder")


def state_requirements(folder, *requirements):
    """Write the metadata of an installed tsar-forecast that needs these."""
    info = folder / "tsar_forecast-0.dist-info"
    info.mkdir()
    stated = [f"Requires-Dist: {one}" for one in requirements]
    (info / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", "Name: tsar-forecast", "Version: 0", *stated]))


def test_packages_outside_their_range_are_named_with_the_remedy(tmp_path, monkeypatch):
    state_requirements(tmp_path, "numpy>=1", "pandas>=999", "tsar-has-no-such-need>=2", 'torch>=999; extra == "later"')
    monkeypatch.syspath_prepend(tmp_path)
    check = _run("packages", tsar.doctor._describe_packages)
    assert not check.passed
    assert f"pandas is {version('pandas')}, and >=999 is needed; tsar-has-no-such-need is missing. " in check.detail
    assert "'pandas>=999' 'tsar-has-no-such-need>=2'" in check.detail
    assert "torch" not in check.detail


def test_a_folder_that_was_not_installed_is_said(monkeypatch):
    monkeypatch.setattr("tsar.doctor.DISTRIBUTION", "tsar-forecast-of-nobody")
    assert tsar.doctor._describe_packages().startswith("not checked: ")
    assert tsar.doctor._describe_extras() == "not checked"
