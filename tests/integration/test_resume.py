"""Resume: an interrupted run that goes on ends with the very bits of one that was never interrupted."""

import fcntl
import json
import os
import signal
import time

import pytest
import torch
from safetensors.torch import load

from tsar.errors import CheckpointError, RecipeError
from tsar.storage import read_folder
from tsar.training.checkpoint import find_checkpoint, list_checkpoints
from tsar.training.config import Recipe, load_recipe, recipe_to_yaml
from tsar.training.loop import pretrain


def final_state(run_dir) -> dict[str, torch.Tensor]:
    """Weights, their running average and the optimizer's state at the end, by file and name."""
    files = read_folder(find_checkpoint(run_dir))
    tensors = [name for name in files if name.endswith(".safetensors")]
    assert len(tensors) == 3
    return {f"{file}/{name}": value for file in tensors for name, value in load(files[file]).items()}


def assert_same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> None:
    assert left.keys() == right.keys()
    for name, value in left.items():
        assert torch.equal(value, right[name]), name


def facts(run_dir) -> dict:
    state = json.loads(read_folder(find_checkpoint(run_dir))["state.json"])
    state.pop("seconds")
    return state


@pytest.mark.parametrize(
    ("kind", "stops"),
    [
        ("muon", [13]),
        pytest.param("adamw", [13], marks=pytest.mark.slow),
        pytest.param("muon", [1, 2, 14, 29], marks=pytest.mark.slow),
        pytest.param("adamw", [1, 2, 14, 29], marks=pytest.mark.slow),
    ],
)
def test_interrupted_is_uninterrupted(tiny_recipe, tmp_path, kind, stops):
    recipe = load_recipe(tiny_recipe, [f"optim.kind={kind}"])
    release = pretrain(recipe, tmp_path / "whole")
    for stop in stops:
        checkpoint = pretrain(recipe, tmp_path / "parts", until=stop)
        assert checkpoint.name == f"step-{stop:09d}"
        assert not (tmp_path / "parts" / "release").exists()
    resumed = pretrain(recipe, tmp_path / "parts")
    assert_same(final_state(tmp_path / "whole"), final_state(tmp_path / "parts"))
    assert facts(tmp_path / "whole") == facts(tmp_path / "parts")
    assert (release / "model.safetensors").read_bytes() == (resumed / "model.safetensors").read_bytes()


def test_training_changes_the_weights_and_seeds_differ(tiny_recipe, tmp_path):
    ends = {}
    for seed in (5, 6):
        recipe = load_recipe(tiny_recipe, [f"seed={seed}", "train.steps=4"])
        begin = pretrain(recipe, tmp_path / f"{seed}", until=0)
        before = load(read_folder(begin)["weights.safetensors"])
        pretrain(recipe, tmp_path / f"{seed}")
        ends[seed] = load(read_folder(find_checkpoint(tmp_path / f"{seed}"))["weights.safetensors"])
        assert all(not torch.equal(value, before[name]) for name, value in ends[seed].items())
    assert not torch.equal(ends[5]["decoder.head.quantiles.weight"], ends[6]["decoder.head.quantiles.weight"])


def test_other_settings_than_those_of_the_steps_so_far_are_told(tiny_recipe, tmp_path, caplog):
    pretrain(load_recipe(tiny_recipe, ["train.steps=4"]), tmp_path / "run", until=2)
    caplog.clear()
    with caplog.at_level("WARNING", logger="tsar"):
        pretrain(load_recipe(tiny_recipe, ["train.steps=4"]), tmp_path / "run", until=3)
        assert caplog.messages == []
        pretrain(load_recipe(tiny_recipe, ["train.steps=4", "optim.lr=0.5"]), tmp_path / "run")
    assert [line for line in caplog.messages if "did not have: optim.lr; use another run folder" in line]


def test_running_a_finished_run_again_changes_nothing(tiny_recipe, tmp_path):
    recipe = load_recipe(tiny_recipe, ["train.steps=7"])
    pretrain(recipe, tmp_path)
    before = (tmp_path / "release" / "model.safetensors").read_bytes()
    assert pretrain(recipe, tmp_path) == tmp_path / "release"
    assert (tmp_path / "release" / "model.safetensors").read_bytes() == before


def wait_for_steps(run_dir) -> None:
    """Wait until the run has logged something."""
    patience = time.monotonic() + 60
    while not (run_dir / "metrics.jsonl").exists():
        assert time.monotonic() < patience
        time.sleep(0.01)


LONG = ["train.steps=80", "train.save_every=1000", "train.log_every=2"]


@pytest.mark.slow
def test_sigterm_saves_and_leaves_then_the_run_goes_on(start_training, tiny_recipe, tmp_path):
    process = start_training(tmp_path / "run", *LONG)
    wait_for_steps(tmp_path / "run")
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    (checkpoint,) = list_checkpoints(tmp_path / "run")
    assert str(checkpoint) in output
    assert 2 <= int(checkpoint.name.removeprefix("step-")) < 80
    assert not (tmp_path / "run" / "release").exists()
    assert not (tmp_path / "run" / "lock").exists()
    recipe = load_recipe(tiny_recipe, LONG)
    pretrain(recipe, tmp_path / "run")
    pretrain(recipe, tmp_path / "whole")
    assert_same(final_state(tmp_path / "run"), final_state(tmp_path / "whole"))


def test_sigint_saves_and_leaves(fork_training, tiny_recipe, tmp_path):
    process = fork_training(load_recipe(tiny_recipe, LONG), tmp_path)
    wait_for_steps(tmp_path)
    os.kill(process.pid, signal.SIGINT)
    process.join(60)
    assert process.exitcode == 0
    assert find_checkpoint(tmp_path) is not None
    assert not (tmp_path / "lock").exists()


@pytest.mark.slow
def test_old_checkpoints_go_and_the_newest_stay(tiny_recipe, tmp_path):
    pretrain(load_recipe(tiny_recipe, ["train.keep=3"]), tmp_path)
    assert [folder.name[-2:] for folder in list_checkpoints(tmp_path)] == ["21", "28", "30"]
    assert not list(tmp_path.rglob(".part-*"))


def test_a_damaged_newest_checkpoint_is_passed_over(tiny_recipe, tmp_path):
    recipe = load_recipe(tiny_recipe, ["train.keep=1"])
    pretrain(recipe, tmp_path / "whole")
    run_dir = tmp_path / "run"
    pretrain(recipe, run_dir, until=7)
    damaged = run_dir / "checkpoints" / "step-000000020"
    damaged.mkdir()
    (damaged / "weights.safetensors").write_bytes(b"cut off")
    assert pretrain(recipe, run_dir, until=16).name == "step-000000016"
    assert find_checkpoint(run_dir).name == "step-000000016", "the damaged one was not kept instead"
    pretrain(recipe, run_dir)
    assert_same(final_state(tmp_path / "whole"), final_state(run_dir))


@pytest.mark.parametrize("change", ["model.d_model=24", "model.num_layers=1", "optim.kind=muon"])
def test_a_checkpoint_of_another_recipe_is_refused(tiny_recipe, tmp_path, change):
    pretrain(load_recipe(tiny_recipe), tmp_path, until=3)
    with pytest.raises(CheckpointError) as caught:
        pretrain(load_recipe(tiny_recipe, [change]), tmp_path)
    assert caught.value.code == "checkpoint.invalid"
    assert not (tmp_path / "lock").exists()


def test_a_folder_with_checkpoints_is_refused_without_resume(tiny_recipe, tmp_path):
    recipe = load_recipe(tiny_recipe)
    pretrain(recipe, tmp_path, resume=False, until=2)
    with pytest.raises(CheckpointError) as caught:
        pretrain(recipe, tmp_path, resume=False)
    assert caught.value.code == "checkpoint.busy"


def test_a_folder_in_use_is_refused_and_left_alone(tiny_recipe, tmp_path):
    recipe = load_recipe(tiny_recipe)
    pretrain(recipe, tmp_path, until=2)
    with open(tmp_path / "lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(CheckpointError) as caught:
            pretrain(load_recipe(tiny_recipe, ["seed=8"]), tmp_path)
    assert caught.value.code == "checkpoint.busy"
    assert (tmp_path / "recipe.yaml").read_text() == recipe_to_yaml(recipe)
    assert (tmp_path / "lock").exists()


@pytest.mark.parametrize("left", ["999999999", "1", "", "rubbish"])
def test_a_lock_left_by_a_dead_process_is_taken_over(tiny_recipe, tmp_path, left):
    (tmp_path / "lock").write_text(left)
    pretrain(load_recipe(tiny_recipe), tmp_path, until=1)
    assert not (tmp_path / "lock").exists()


def test_a_recipe_without_an_end_is_refused(tiny_recipe, tmp_path):
    with pytest.raises(RecipeError) as caught:
        pretrain(load_recipe(tiny_recipe, ["train.steps=null"]), tmp_path)
    assert caught.value.code == "recipe.bad_value"


@pytest.mark.slow
def test_minutes_end_a_run_on_time_with_a_whole_schedule(tiny_recipe, tmp_path):
    recipe: Recipe = load_recipe(tiny_recipe, ["train.steps=null", "train.log_every=1"])
    began = time.monotonic()
    pretrain(recipe, tmp_path, minutes=0.03)
    assert time.monotonic() - began < 10
    rates = [json.loads(line)["lr"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert max(rates) == recipe.optim.lr
    assert rates[0] < recipe.optim.lr / 10
    assert rates[-1] < recipe.optim.lr / 4
