"""Kill -9 at random moments of a run that saves at every step: what is there is whole, and the run goes on."""

import random
import time

import pytest
import torch
from safetensors.torch import load

from tsar.storage import is_whole, read_folder
from tsar.training.checkpoint import find_checkpoint, list_checkpoints
from tsar.training.config import load_recipe
from tsar.training.loop import pretrain


def newest_step(run_dir) -> int:
    checkpoint = find_checkpoint(run_dir)
    return int(checkpoint.name.removeprefix("step-")) if checkpoint else 0


@pytest.mark.parametrize(
    ("kills", "keep"),
    [(2, 1), pytest.param(30, 1, marks=pytest.mark.slow), pytest.param(30, 2, marks=pytest.mark.slow)],
)
@pytest.mark.slow
def test_kill_at_random_moments(fork_training, tiny_recipe, tmp_path, kills, keep, record_property):
    recipe = load_recipe(tiny_recipe, [f"train.steps={kills * 15}", "train.save_every=1", f"train.keep={keep}"])
    run_dir, dice = tmp_path / "run", random.Random(kills + keep)
    for _ in range(kills):
        before = newest_step(run_dir)
        child = fork_training(recipe, run_dir)
        patience = time.monotonic() + 60
        while len(list_checkpoints(run_dir)) == 0 or list_checkpoints(run_dir)[-1].name <= f"step-{before:09d}":
            assert time.monotonic() < patience
            time.sleep(0.005)
        time.sleep(dice.random() * 0.2)
        child.kill()
        child.join()
        checkpoint = find_checkpoint(run_dir)
        assert checkpoint is not None
        assert newest_step(run_dir) > before
        assert all(is_whole(folder) for folder in list_checkpoints(run_dir)[-keep:]), "a checkpoint is whole or absent"
    pretrain(recipe, run_dir)
    pretrain(load_recipe(tiny_recipe, [f"train.steps={recipe.train.steps}"]), tmp_path / "whole")
    ends = [load(read_folder(path / "release")["model.safetensors"]) for path in (run_dir, tmp_path / "whole")]
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())
    assert not list(run_dir.rglob(".part-*")), "what the kills left over was cleared away"
    record_property("kills survived", kills)
