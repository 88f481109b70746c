"""The wheel holds the package, the releases and the recipes, and works from anywhere."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
RELEASES = sorted(path.parent.name for path in (ROOT / "zoo").glob("tsar-*/manifest.json"))
RECIPES = sorted(path.name for path in (ROOT / "pretrain" / "recipes").glob("*.yaml"))


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("tsar_forecast-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run_python(site: Path, code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=site.parent, env=environment, check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
def test_wheel_holds_only_the_package(unpacked):
    assert [path.name for path in unpacked.iterdir() if not path.name.endswith(".dist-info")] == ["tsar"]


def test_wheel_holds_every_file_of_the_package(unpacked):
    def files(package):
        found = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()}
        return {name for name in found if "__pycache__" not in name and not name.startswith(("_zoo/", "_recipes/"))}

    assert files(unpacked / "tsar") == files(ROOT / "tsar")


def test_wheel_holds_every_release_bit_for_bit(unpacked):
    assert sorted(path.name for path in (unpacked / "tsar" / "_zoo").iterdir()) == RELEASES
    for path in (file for name in RELEASES for file in (ROOT / "zoo" / name).rglob("*") if file.is_file()):
        assert (unpacked / "tsar" / "_zoo" / path.relative_to(ROOT / "zoo")).read_bytes() == path.read_bytes()


def test_wheel_holds_every_recipe(unpacked):
    assert sorted(path.name for path in (unpacked / "tsar" / "_recipes").iterdir()) == RECIPES


def test_releases_of_the_wheel_are_found(unpacked):
    code = "import tsar; print(*(f'{one.name}={one.path}' for one in tsar.list_models()))"
    expected = [f"{name}={unpacked / 'tsar' / '_zoo' / name}" for name in RELEASES]
    assert run_python(unpacked, code).split() == expected


def test_recipes_of_the_wheel_are_found(unpacked):
    code = "from tsar.cli.training import find_recipe; print(find_recipe('tsar-tiny'))"
    assert run_python(unpacked, code).strip() == str(unpacked / "tsar" / "_recipes" / "tsar-tiny.yaml")
