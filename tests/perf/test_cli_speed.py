"""How long a forecast of a thousand series takes on a CPU, from a CSV to a CSV, and in how much memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parent.parent.parent
ITEMS, LENGTH, HORIZON = 1000, 500, 24
MOST_SECONDS, MOST_GIBIBYTES = 240, 3.0  # generous: two slow cores, shared
MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.slow
def test_a_thousand_series_from_csv_to_csv(tmp_path, capsys):
    rng = np.random.default_rng(0)
    hours = pd.date_range("2024-01-01", periods=LENGTH, freq="h")
    values = 10 + np.sin(2 * np.pi * np.arange(LENGTH) / 24) + 0.3 * rng.normal(size=(ITEMS, LENGTH))
    ids = np.repeat([f"item {item}" for item in range(ITEMS)], LENGTH)
    table = pd.DataFrame({"item_id": ids, "timestamp": np.tile(hours, ITEMS), "target": values.ravel()})
    table.to_csv(tmp_path / "in.csv", index=False)
    command = [sys.executable, "-m", "tsar.cli", "forecast", "in.csv", "--prediction-length", str(HORIZON)]
    command += ["--device", "cpu", "--output", "out.csv"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *command], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    seconds = time.perf_counter() - began
    assert done.returncode == 0, done.stderr
    gibibytes = int(done.stderr.split()[-1]) / 2**20  # Linux counts kibibytes
    with capsys.disabled():
        threads = environment.get("OMP_NUM_THREADS", "all")
        print(
            f"\n{ITEMS} series x {LENGTH}, horizon {HORIZON}: {seconds:.1f} s, {gibibytes:.2f} GiB, {threads} threads"
        )
    assert len(pd.read_csv(tmp_path / "out.csv")) == ITEMS * HORIZON
    assert seconds < MOST_SECONDS
    assert gibibytes < MOST_GIBIBYTES


@pytest.mark.slow
def test_a_release_loads_in_an_instant_once_torch_is_there():
    code = "import time, torch; t = time.perf_counter(); from tsar import load_model; load_model('tsar-tiny'); "
    code += "print(time.perf_counter() - t)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}  # threads wait for busy cores
    runs = [
        subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        for _ in range(3)
    ]
    assert min(float(run.stdout) for run in runs) < 2  # 0.1 on quiet cores; drawing weights in vain took 4.5
