"""Every example runs to its end in an empty folder, offline."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("[0-9]*.py"))


ENGINES = {"10_ray": "ray.data", "11_spark": "pyspark", "12_dask": "dask.dataframe"}
OTHERS = {"14_skforecast": "skforecast", "15_darts": "darts"}  # not in the extra `dev`
LONG = ("01_", "02_", "03_", "04_", "05_", "06_", "07_", "08_", "09_", "13_", *ENGINES, *OTHERS)  # ten seconds and more
MARKED = [pytest.param(path, marks=pytest.mark.slow if path.stem.startswith(LONG) else ()) for path in EXAMPLES]


@pytest.mark.parametrize("path", MARKED, ids=lambda path: path.stem)
def test_example_runs(path, tmp_path):
    if path.stem in NEEDS:
        pytest.importorskip(NEEDS[path.stem])
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    strictly = [] if path.stem in ENGINES | OTHERS else ["-W", "error"]  # those have warnings of their own
    command = [sys.executable, *strictly, str(path)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if path.stem in CHECKS:
        CHECKS[path.stem](tmp_path, done.stdout)


def check_zero_shot(folder, printed):
    assert "MASE" in printed
    assert "seasonal naive" in printed
    forecast = pd.read_csv(folder / "demo-output" / "forecast.csv")
    assert forecast.groupby("item_id", sort=False).size().to_dict() == {
        "sea temperature": 24,
        "electrical turnover": 24,
    }
    assert (folder / "demo-output" / "forecast.png").read_bytes().startswith(b"\x89PNG")


def check_backtest(folder, printed):
    for words in ("win_rate", "calibrated: the 80 % band held", "sums over quarters"):
        assert words in printed
    for name in ("coverage.png", "backtest.png"):
        assert (folder / "demo-output" / name).read_bytes().startswith(b"\x89PNG")


def check_fine_tune(folder, printed):
    scores = pd.read_csv(folder / "demo-output" / "fine_tune.csv", index_col=0)
    assert scores.loc["tuned", "MASE"] < scores.loc["zero-shot", "MASE"], printed
    assert (folder / "demo-output" / "adapter" / "adapter.safetensors").is_file()


def check_several_targets(folder, printed):
    forecast = pd.read_csv(folder / "demo-output" / "several_targets.csv")
    assert forecast.groupby("target_name", sort=False).size().to_dict() == dict.fromkeys(
        ["realgdp", "realcons", "realinv", "unemp"], 4
    )
    scores = pd.read_csv(folder / "demo-output" / "several_targets_scores.csv", keep_default_na=False, index_col=0)
    assert scores.loc["related", "MASE"] < 1.05 * scores.loc["None", "MASE"], printed


def check_explain(folder, printed):
    assert "segment 1" in printed
    assert (folder / "demo-output" / "explain.png").read_bytes().startswith(b"\x89PNG")


NEEDS = {"02_fine_tune": "aeon"} | ENGINES | OTHERS


def check_generate(folder, printed):
    assert "from nothing: (144, 3)" in printed
    for kind in ("sea", "sun"):
        lines = printed.split(f"{kind}: real", 1)[1].splitlines()[1:3]
        generated, noise = (float(line.split("predictive ")[1].split()[0]) for line in lines)
        assert generated < 1.1 < noise


def check_engine(folder, printed):
    assert pd.read_parquet(folder / "forecast.parquet").groupby("item_id").size().tolist() == [7] * 39
    assert printed.splitlines()[-1].startswith("[\"frame.infinite_target: the target 'target' is inf")


def check_events(folder, printed):
    assert "in the last hour:" in printed
    assert len(printed.split("one way it could go on:")[1].strip().splitlines()) == 6


def check_skforecast(folder, printed):
    errors = {line.split(":")[0]: float(line.split()[-1]) for line in printed.splitlines()[:2]}
    assert errors["tsar"] < 1.2 * errors["ridge"]
    bands = pd.read_csv(folder / "forecast.csv", index_col=0)
    assert len(bands) == 12
    assert (bands["lower_bound"] < bands["pred"]).all()
    assert (bands["pred"] < bands["upper_bound"]).all()


def check_darts(folder, printed):
    naive, ours = (float(line.split()[-1]) for line in printed.splitlines()[:2])
    assert ours < naive
    forecast = pd.read_csv(folder / "forecast.csv", index_col=0)
    assert list(forecast) == [f"temperature_q{level:.3f}" for level in (0.1, 0.5, 0.9)]
    assert (forecast.diff(axis=1).iloc[:, 1:] > 0).all(axis=None)


CHECKS = {
    "01_zero_shot": check_zero_shot,
    "02_fine_tune": check_fine_tune,
    "03_backtest_and_calibrate": check_backtest,
    "06_several_targets": check_several_targets,
    "07_explain": check_explain,
    "09_generate": check_generate,
    **dict.fromkeys(ENGINES, check_engine),
    "13_events": check_events,
    "14_skforecast": check_skforecast,
    "15_darts": check_darts,
}
