"""Every example runs to its end in an empty folder, offline."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("[0-9]*.py"))


def run_example(path: Path, folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    command = [sys.executable, "-W", "error", str(path)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(path, tmp_path):
    run_example(path, tmp_path)


def test_the_demo_scores_and_writes_what_it_says(tmp_path):
    printed = run_example(ROOT / "examples" / "01_zero_shot.py", tmp_path)
    assert "MASE" in printed
    assert "seasonal naive" in printed
    forecast = pd.read_csv(tmp_path / "demo-output" / "forecast.csv")
    assert forecast.groupby("item_id", sort=False).size().to_dict() == {
        "sea temperature": 24,
        "electrical turnover": 24,
    }
    assert (tmp_path / "demo-output" / "forecast.png").read_bytes().startswith(b"\x89PNG")
