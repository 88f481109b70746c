"""What the machine takes away: threads in forked children, worker processes, memory, the system's locks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run_python(script: str, *arguments: object, timeout: float = 120, **environment: str) -> str:
    """Run Python in a process of its own; return what it printed."""
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=surroundings, check=False, timeout=timeout)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# ------------------------------------------------------------------------------------------------------------- threads

FORKED = """
import os, signal, sys
import numpy as np
import torch
from tsar.decode import decode_panel
from tsar.hub import load_model

torch.set_num_threads(2)
model = load_model(sys.argv[1])
x = torch.ones(1000, 1000)
values, offsets = np.random.default_rng(0).normal(size=4000).cumsum(), np.arange(0, 4001, 500)

def forecast():
    (x @ x).exp().sum()  # large enough for both threads
    return decode_panel(model, values, offsets, 40, context_lengths=[128])

alone = forecast()
assert len(os.listdir("/proc/self/task")) > 1, "OpenMP started no second thread: nothing is tested"
child = os.fork()
if child == 0:
    signal.alarm(40)  # a child that hangs is killed
    same = np.allclose(forecast(), alone) and torch.get_num_threads() == 1
    os._exit(0 if same else 3)
print(os.waitpid(child, 0)[1], torch.get_num_threads())
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads in /proc")
def test_a_forked_child_of_a_parent_with_two_threads_forecasts(tiny_release):
    assert run_python(FORKED, tiny_release, OMP_NUM_THREADS="2") == "0 2\n"


# ------------------------------------------------------------------------------------------------------------- workers

KILLED = """
import os, signal, sys, threading, time
from pathlib import Path
import joblib
import numpy as np
from tsar.refining.ensemble import join_classical
from tsar.errors import ResourceError

def children():
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"loky" in (place / "cmdline").read_bytes():
                found.append(int(place.name))
        except OSError:
            continue
    return [child for child in found if b"resource_tracker" not in Path(f"/proc/{child}/cmdline").read_bytes()]

def kill_one():
    while not children():
        time.sleep(0.02)
    time.sleep(1)
    os.kill(children()[0], signal.SIGKILL)

def join(items, length):
    values = np.random.default_rng(0).normal(size=items * length).cumsum()
    decode = lambda values, offsets: np.zeros((items, 12, 9))
    zeros, starts = np.zeros((items, 12, 9)), np.arange(items + 1) * length
    return join_classical(zeros, values, starts, 12, decode)

with joblib.parallel_config(n_jobs=2):
    threading.Thread(target=kill_one, daemon=True).start()
    try:
        join(320, 120)
    except ResourceError as error:
        print(error.code, "n_jobs=1" in error.hint)
    print(join(32, 60).shape)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc")
def test_a_worker_that_is_killed_is_a_coded_error_and_the_next_call_works():
    assert run_python(KILLED, timeout=300) == "resource.worker True\n(32, 12, 9)\n"


BENCHMARK = """
import os, signal, sys
from pathlib import Path
import numpy as np
import tsar.benchmark.models as models
from tsar.benchmark import EvaluationSet, run_benchmark
from tsar.errors import ResourceError

def die(past, prediction_length, season, levels):
    os.kill(os.getpid(), signal.SIGKILL)

models.CLASSICAL = {"ets": die}
data = EvaluationSet(
    name="waves", item_ids=np.array(["a", "b"], object), starts=np.array(["2024-01-01"] * 2, "datetime64[ms]"),
    freqs=("D", "D"), pasts=(np.arange(50.0), np.arange(50.0)), actual=np.ones((2, 4)), seasonality=7,
)
try:
    run_benchmark([data], ["ets"], jobs=2, cache=Path(sys.argv[1]))
except ResourceError as error:
    print(error.code, list(Path(sys.argv[1]).iterdir()))
"""


@pytest.mark.slow
def test_a_worker_that_dies_in_a_benchmark_leaves_no_file(tmp_path):
    assert run_python(BENCHMARK, tmp_path) == "resource.worker []\n"


# -------------------------------------------------------------------------------------------------------------- memory

LITTLE = """
import resource, sys
import numpy as np
import pandas as pd
from tsar import Forecaster, FineTuneConfig
from tsar.errors import ResourceError
import tsar.training.finetune as finetune

hours = pd.date_range("2024-01-01", periods=400, freq="h")
noise = np.random.default_rng(0).normal(size=400)
frame = pd.DataFrame({"item_id": "a", "timestamp": hours, "target": np.sin(np.arange(400) / 4) + 0.1 * noise})
config = dict(max_steps=2, batch_size=1 << int(sys.argv[2]))

def fit(**config):
    config = FineTuneConfig(**config)
    return Forecaster(sys.argv[1], prediction_length=8, mode="full", fine_tune=config, context_length=128).fit(frame)

fit(max_steps=2, batch_size=2).predict()  # everything is imported and allocated once
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
rows, runs = [], finetune._Run.start
finetune._Run.start = lambda *args: rows.append(runs(*args)) or rows[-1]
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[3]) * 2**20,) * 2)
try:
    fitted = fit(**config)
    print("fitted", rows[0].rows_at_once < config["batch_size"], rows[0].rows_at_once > 0, fitted.predict().shape)
except ResourceError as error:
    print(error.code)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_fit_halves_a_batch_that_does_not_fit_into_memory(tiny_release):
    assert run_python(LITTLE, tiny_release, 11, 40, timeout=300) == "fitted True True (8, 13)\n"
