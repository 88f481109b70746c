"""A recipe so small that a run takes a second, and processes that train it."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from tsar.training.config import Recipe
from tsar.training.loop import pretrain

ROOT = Path(__file__).parents[2]
TINY = """
name: tiny
seed: 5
model:
  {d_model: 16, num_layers: 2, num_heads: 2, num_kv_heads: 1, head_dim: 8, d_ff: 16, patch_length: 8,
   output_length: 16, context_length: 64, max_span: 4}
corrupt: {max_span: 4}
data: {block_size: 4, fresh: 2, pool: 6}
shapes:
  - {context_length: 64, rows: 8}
  - {context_length: 32, rows: 16, weight: 0.5, cut: 0.3}
optim: {lr: 3.0e-3, ema: 0.9}
train: {steps: 30, log_every: 5, validate_every: 100, save_every: 7, validation_windows: 0, keep: 2, threads: 1}
"""


@pytest.fixture
def tiny_recipe(tmp_path: Path) -> Path:
    """Path of the tiny recipe."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture
def start_training(tiny_recipe: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start ``tsar pretrain`` of the tiny recipe in a process of its own."""

    def start(run_dir: Path, *overrides: str, launcher: tuple[str, ...] = ("-m",)) -> subprocess.Popen[str]:
        settings = ["--set", *overrides] if overrides else []
        command = [
            sys.executable,
            *launcher,
            "tsar.cli",
            "pretrain",
            str(tiny_recipe),
            "--run-dir",
            str(run_dir),
            *settings,
        ]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)

    return start


@pytest.fixture
def fork_training(monkeypatch: pytest.MonkeyPatch) -> Callable[[Recipe, Path], BaseProcess]:
    """Start a run in a process forked from one that has imported torch and little else, so that it starts at once."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tsar.training.loop", "torch._dynamo"])  # optimizers import the latter

    def start(recipe: Recipe, run_dir: Path) -> BaseProcess:
        process = processes.Process(target=pretrain, args=(recipe, run_dir))
        process.start()
        return process

    return start
