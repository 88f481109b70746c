"""The scaling study: settings are combined, the fit finds a law that is there, a table and a picture are written."""

import csv
import os
import signal
import threading
import time

import numpy as np
import pytest

from tsar.cli import main
from tsar.errors import RecipeError
from tsar.training.checkpoint import find_checkpoint
from tsar.training.sweep import fit_joint_law, fit_power_law, parse_axis, run_sweep


def test_axes():
    assert parse_axis("model.num_layers=[1, 2]") == [["model.num_layers=1"], ["model.num_layers=2"]]
    together = parse_axis("model.d_model, model.d_ff=[[8, 16], [16, 32]]")
    assert together == [["model.d_model=8", "model.d_ff=16"], ["model.d_model=16", "model.d_ff=32"]]


@pytest.mark.parametrize("axis", ["model.d_model", "model.d_model=8", "a=[]", "a,b=[1, 2]", "a,b=[[1], [2]]", "a=[1"])
def test_what_is_no_axis_is_refused(axis):
    with pytest.raises(RecipeError) as caught:
        parse_axis(axis)
    assert caught.value.code == "recipe.bad_value"


def test_a_power_law_is_found_with_and_without_a_floor():
    size = np.geomspace(1e4, 1e8, 7)
    law = fit_power_law(size, 0.3 + 2.0 * size**-0.25)
    assert law.exponent == pytest.approx(0.25, rel=0.05)
    assert law.floor == pytest.approx(0.3, abs=0.01)
    assert law.r2 > 0.999
    plain = fit_power_law(size[:3], 5 * size[:3] ** -0.1)
    assert (plain.exponent, plain.scale, plain.floor) == pytest.approx((0.1, 5, 0))


def test_size_and_data_are_told_apart():
    rows = [
        {"parameters": size, "tokens": data, "loss": 3 * size**-0.1 * data**-0.05}
        for size in (1e4, 1e5, 1e6)
        for data in (1e6, 1e7)
    ]
    law = fit_joint_law(rows)
    assert (law.scale, law.of_size, law.of_data, law.r2) == pytest.approx((3, 0.1, 0.05, 1))
    assert fit_joint_law(rows[:3]) is None
    assert fit_joint_law([{**row, "tokens": row["parameters"]} for row in rows]) is None


def test_an_interrupted_sweep_ends_and_goes_on(tiny_recipe, tmp_path):
    folder, endless = tmp_path / "sweep", ["train.steps=1000000", "train.validation_windows=1", "train.log_every=1"]

    def interrupt():
        while not any(path.stat().st_size for path in folder.glob("*/metrics.jsonl")):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    waiting = threading.Thread(target=interrupt)
    waiting.start()
    with pytest.raises(KeyboardInterrupt):
        run_sweep(tiny_recipe, ["seed=[1, 2]"], folder, overrides=endless)
    waiting.join()
    assert [path.name for path in folder.iterdir()] == ["seed=1"], "the second run has not begun, nothing is written"
    checkpoint = find_checkpoint(folder / "seed=1")
    assert checkpoint is not None
    done = int(checkpoint.name.removeprefix("step-"))
    ends = run_sweep(tiny_recipe, ["seed=[1, 2]"], folder, overrides=[*endless, f"train.steps={done + 1}"])
    assert [row["windows"] > 0 for row in ends.rows] == [True, True]


@pytest.mark.slow
def test_a_sweep_trains_each_point_and_writes_what_it_found(tiny_recipe, tmp_path):
    settings = ["train.steps=4", "train.validation_windows=1"]
    grid = ["model.d_model,model.d_ff=[[8, 8], [16, 32]]", "train.steps=[2, 6]"]
    sweep = run_sweep(tiny_recipe, grid, tmp_path / "one", overrides=settings)
    assert len(sweep.rows) == 4
    sizes = {row["parameters"] for row in sweep.rows}
    assert len(sizes) == 2
    assert {law.size for law in sweep.laws} == {"parameters", "tokens", "flops"}
    with open(tmp_path / "one" / "sweep.csv") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == [row["loss"] for row in sweep.rows]
    assert (tmp_path / "one" / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert str(sweep) == (tmp_path / "one" / "sweep.md").read_text().rstrip("\n")
    again = run_sweep(tiny_recipe, grid, tmp_path / "one", overrides=settings)
    assert again.rows == sweep.rows, "finished runs are taken as they are"
    with pytest.raises(RecipeError, match="validation_windows"):
        run_sweep(tiny_recipe, grid, tmp_path / "two")


@pytest.mark.slow
def test_the_command(tiny_recipe, tmp_path, capsys):
    options = ["--set", "train.validation_windows=1", "train.steps=2", "--sweep", "model.num_layers=[1, 2]"]
    assert main(["pretrain", str(tiny_recipe), "--run-dir", str(tmp_path / "run"), *options]) == 0
    output = capsys.readouterr().out
    assert "| run | parameters |" in output
    assert "loss = " in output
