"""The launch files of pretrain/launch: two processes by accelerate train what one does, accumulation included."""

from pathlib import Path

import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file
from safetensors.torch import load

from tsar.storage import read_folder
from tsar.training.checkpoint import find_checkpoint
from tsar.training.config import load_recipe
from tsar.training.loop import pretrain

FILES = Path(__file__).parents[2] / "pretrain" / "launch"
MIXED = ["corrupt.noise=0.5", "corrupt.patches=0.3", "model.modes=true", "corrupt.middle=0.3"]


def launcher(name: str) -> tuple[str, ...]:
    return ("-m", "accelerate.commands.launch", "--config_file", str(FILES / name), "-m")


@pytest.mark.parametrize("name", [path.name for path in FILES.glob("*.yaml")])
def test_launch_files_are_what_accelerate_reads(name):
    config = load_config_from_file(str(FILES / name))
    assert config.num_processes >= 2
    assert config.mixed_precision == "no", "the recipe decides"


@pytest.mark.slow
def test_two_processes_with_accumulation_train_as_one(start_training, tiny_recipe, tmp_path):
    settings = ["train.steps=10", *MIXED]
    process = start_training(tmp_path / "two", *settings, "train.accumulate=2", launcher=launcher("cpu2.yaml"))
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    pretrain(load_recipe(tiny_recipe, settings), tmp_path / "one")
    one, two = (load(read_folder(find_checkpoint(tmp_path / name))["weights.safetensors"]) for name in ("one", "two"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["muon"])
def test_weights_shared_out_train_as_whole_ones_and_resume(start_training, tiny_recipe, tmp_path, kind):
    settings = [f"optim.kind={kind}", "train.validation_windows=1", "shapes=[{context_length: 64, rows: 8}]"]
    for steps in (5, 10):  # the second goes on from the first one's checkpoint
        more = [f"train.steps={steps}", "optim.schedule=infinite", "optim.warmup_steps=3"]
        process = start_training(tmp_path / "two", *settings, *more, launcher=launcher("fsdp2.yaml"))
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
        assert "shared out over 2 processes" in output
    release = pretrain(load_recipe(tiny_recipe, [*settings, *more]), tmp_path / "one")
    one, two = (load(read_folder(find_checkpoint(tmp_path / name))["weights.safetensors"]) for name in ("one", "two"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=2e-4)
    assert (tmp_path / "two" / "release" / "model.safetensors").stat().st_size == (
        release / "model.safetensors"
    ).stat().st_size
