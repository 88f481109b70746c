"""The Dockerfile without a container engine: what it copies is there and suffices, what it runs works."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def read_dockerfile() -> list[tuple[str, str]]:
    """Instructions and what stands behind them, comments left out and continued lines joined."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("#")).replace("\\\n", "")
    split = (line.partition(" ") for line in text.splitlines() if line.strip())
    return [(word, rest.strip()) for word, _, rest in split]


INSTRUCTIONS = read_dockerfile()
COPIED = [
    source.removesuffix("/")
    for word, rest in INSTRUCTIONS
    if word == "COPY" and not rest.startswith("--from=")
    for source in rest.split()[:-1]
]


def the(word: str) -> str:
    """The last instruction of a kind, which is the one that counts."""
    return [rest for one, rest in INSTRUCTIONS if one == word][-1]


def run_of(part: str) -> str:
    (found,) = (rest for word, rest in INSTRUCTIONS if word == "RUN" and part in rest)
    return found


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    """A folder with what the build copies, under the names that it gets there, and nothing else."""
    folder = tmp_path_factory.mktemp("src")
    for word, rest in INSTRUCTIONS:
        if word != "COPY" or rest.startswith("--from="):
            continue
        *sources, target = rest.split()
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, folder / target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, folder / target)
    return folder


def test_what_is_copied_is_there_and_not_ignored():
    allowed = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert allowed[0] == "*"
    assert {line[1:] for line in allowed[1:] if line.startswith("!")} == set(COPIED)
    assert [line for line in allowed[1:] if not line.startswith("!")] == ["**/__pycache__"]
    assert [source for source in COPIED if not (ROOT / source).exists()] == []


def test_the_server_is_not_root_and_a_number_says_so():
    assert re.search(rf"useradd .*--uid {the('USER')} ", run_of("useradd"))
    assert int(the("USER")) >= 1000


def test_both_stages_start_from_the_same_python():
    bases = [rest.split()[0] for word, rest in INSTRUCTIONS if word == "FROM"]
    assert bases == ["$PYTHON", "$PYTHON"]  # the environment that is copied links to its interpreter
    version = re.fullmatch(r"PYTHON=.*/python:(3\.\d+)-slim", INSTRUCTIONS[0][1])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"Programming Language :: Python :: {version.group(1)}" in project["classifiers"]


def test_what_is_installed_first_is_what_pyproject_asks_for(context):
    command = shlex.split(run_of("tomllib"))
    script = command[command.index("-c") + 1]
    done = subprocess.run([sys.executable, "-c", script], cwd=context, check=True, capture_output=True, text=True)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert done.stdout.splitlines() == project["dependencies"] + project["optional-dependencies"]["serve"]


@pytest.mark.slow
def test_what_is_copied_makes_a_whole_wheel(context, tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    for name, folder in (("copied", context), ("whole", ROOT)):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        (wheel,) = tmp_path.glob("tsar_forecast-*.whl")
        wheel.rename(tmp_path / f"{name}.zip")
    copied, whole = (zipfile.ZipFile(tmp_path / f"{name}.zip").namelist() for name in ("copied", "whole"))
    assert sorted(copied) == sorted(whole)
    assert "tsar/_zoo/tsar-tiny/model.safetensors" in copied


@pytest.mark.slow
def test_the_command_serves_and_the_health_check_sees_it():
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    command = json.loads(the("CMD"))
    check = json.loads(the("HEALTHCHECK").partition("CMD ")[2])
    assert (command[0], check[0]) == ("tsar", "python")
    assert command[command.index("--port") + 1] == the("EXPOSE")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    places = {"0.0.0.0": "127.0.0.1", the("EXPOSE"): port}
    check = [sys.executable, *(part.replace(f":{the('EXPOSE')}/", f":{port}/") for part in check[1:])]
    command = [sys.executable, "-m", "tsar.cli", *(places.get(part, part) for part in command[1:])]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert port in check[-1]
    assert subprocess.run(check, capture_output=True).returncode == 1
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as server:
        while subprocess.run(check, capture_output=True).returncode:
            assert server.poll() is None
            time.sleep(0.2)
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=30) == 0
    assert subprocess.run(check, capture_output=True).returncode == 1
