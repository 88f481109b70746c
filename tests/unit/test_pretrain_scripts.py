"""Every script of `pretrain/` says how it is run, and starts."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "pretrain").rglob("*.py"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_docstring_names_its_command(path):
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    lines = [line.split("#")[0].split() for line in text.splitlines() if line.strip().startswith("python ")]
    name = path.relative_to(ROOT).as_posix()
    assert any(name in words for words in lines), f"no line of the docstring runs {name}"


@pytest.mark.slow
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_help(path):
    if path.stem == "make_body":
        pytest.importorskip("transformers")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", str(path), "--help"]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=300)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(f"usage: {path.name}")
