"""Two processes (gloo, on the CPU) train what one trains: the same samples, the same weights up to rounding."""

import json

import pytest
import torch
from safetensors.torch import load

from tsar.storage import read_folder
from tsar.training.checkpoint import find_checkpoint
from tsar.training.config import load_recipe
from tsar.training.loop import pretrain

LAUNCHER = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m")


def run_on_two_processes(start_training, run_dir, *overrides: str) -> str:
    process = start_training(run_dir, *overrides, launcher=LAUNCHER)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_two_processes_train_as_one(start_training, tiny_recipe, tmp_path, kind):
    settings = ["train.steps=12", f"optim.kind={kind}", "train.validation_windows=1"]
    run_on_two_processes(start_training, tmp_path / "two", *settings)
    pretrain(load_recipe(tiny_recipe, settings), tmp_path / "one")
    states = []
    for name in ("one", "two"):
        assert (tmp_path / name / "release" / "model.safetensors").is_file()
        files = read_folder(find_checkpoint(tmp_path / name))
        states.append((load(files["weights.safetensors"]), json.loads(files["state.json"])))
    (one, facts), (two, facts_of_two) = states
    assert {key: facts[key] for key in ("step", "windows", "tokens")} == {
        key: facts_of_two[key] for key in ("step", "windows", "tokens")
    }
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-4)
    lines = [(tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("one", "two")]
    assert len(lines[0]) == len(lines[1]), "one process writes the metrics"


@pytest.mark.slow
def test_a_run_of_two_goes_on_with_one(start_training, tiny_recipe, tmp_path):
    run_on_two_processes(start_training, tmp_path / "two", "train.steps=6")
    recipe = load_recipe(tiny_recipe, ["train.steps=6"])
    pretrain(recipe, tmp_path / "one")
    ends = [load(read_folder(tmp_path / name / "release")["model.safetensors"]) for name in ("one", "two")]
    for name, value in ends[0].items():
        torch.testing.assert_close(ends[1][name], value, rtol=1e-3, atol=1e-4)
    assert pretrain(load_recipe(tiny_recipe, ["train.steps=9"]), tmp_path / "two").name == "release"


@pytest.mark.slow
def test_minutes_end_all_processes_at_one_step(start_training, tmp_path):
    run_on_two_processes(start_training, tmp_path, "train.steps=null", "train.minutes=0.05", "train.log_every=1")
    assert (tmp_path / "release" / "model.safetensors").is_file()


@pytest.mark.slow
def test_rows_that_cannot_be_shared_are_refused(start_training, tmp_path):
    process = start_training(tmp_path, "shapes=[{context_length: 64, rows: 7}]", launcher=LAUNCHER)
    output, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "7 rows cannot be shared evenly by 2 processes" in output
