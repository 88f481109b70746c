"""Checkpoints of a run: all that exact resume needs, as safetensors and JSON in folders that are whole or absent."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from tsar.errors import CheckpointError
from tsar.storage import is_whole, read_folder, write_folder
from tsar.training.fsdp import whole
from tsar.training.optim import MuonAdamW

PREFIX = "step-"


@dataclass
class RunState:
    """Where a run stands.

    Attributes
    ----------
    step
        Steps done.
    seconds
        Wall time spent training, over all interruptions.
    windows, tokens
        What the model has read.
    branch_step, branch_seconds
        Where a branch that anneals began; None: this is none.
    source_losses
        Running mean of each source's loss, with ``train.scale_losses``.
    """

    step: int = 0
    seconds: float = 0.0
    windows: int = 0
    tokens: int = 0
    branch_step: int | None = None
    branch_seconds: float = 0.0
    source_losses: dict[str, float] = field(default_factory=dict)


def save_checkpoint(
    run_dir: Path,
    state: RunState,
    model: nn.Module,
    optimizer: MuonAdamW,
    ema: dict[str, Tensor],
    recipe: str,
    keep: int,
    *,
    write: bool = True,
) -> Path:
    """Write ``run_dir/checkpoints/step-…`` and drop all but the newest `keep`.

    With `write` False nothing is written: the process only helps to put weights together that are shared out.
    """
    folder = run_dir / "checkpoints" / f"{PREFIX}{state.step:09d}"
    slots, counters = _optimizer_tensors(model, optimizer)
    if is_whole(folder):  # this step was just saved; replacing it would leave a moment without it
        return folder
    tensors = [_plain(whole(part)) for part in (dict(model.state_dict()), ema, slots)]
    if not write:
        return folder
    write_folder(
        folder,
        {
            "weights.safetensors": save(tensors[0]),
            "ema.safetensors": save(tensors[1]),
            "optimizer.safetensors": save(tensors[2]),
            "state.json": json.dumps({**asdict(state), "optimizer_steps": counters}).encode(),
            "recipe.yaml": recipe.encode(),
        },
        step=state.step,
    )
    done = list_checkpoints(run_dir)
    kept = [one for one in done if one <= folder][-keep:]  # a later one is damaged, or the run would have gone on there
    for old in set(done) - set(kept):
        shutil.rmtree(old, ignore_errors=True)
    for stray in folder.parent.glob(".part-*"):
        shutil.rmtree(stray, ignore_errors=True)
    return folder


def list_checkpoints(run_dir: Path) -> list[Path]:
    """All checkpoint folders of a run, oldest first, whole or not."""
    return sorted((run_dir / "checkpoints").glob(f"{PREFIX}*"))


def find_checkpoint(run_dir: Path) -> Path | None:
    """The newest whole checkpoint of a run, or None; a damaged newer one is passed over."""
    for folder in reversed(list_checkpoints(run_dir)):
        if is_whole(folder):
            return folder
    return None


def load_checkpoint(
    folder: Path, model: nn.Module, optimizer: MuonAdamW, device: torch.device
) -> tuple[RunState, dict[str, Tensor]]:
    """Bring model and optimizer to the state of a checkpoint; return the run's state and the averaged weights.

    Raises
    ------
    CheckpointError
        ``checkpoint.invalid`` where names or shapes do not fit the recipe's model.
    """
    files = read_folder(folder)
    try:
        model.load_state_dict(load(files["weights.safetensors"]))
        ema = {name: value.to(device) for name, value in load(files["ema.safetensors"]).items()}
        facts = json.loads(files["state.json"])
        counters = facts.pop("optimizer_steps")
        slots = load(files["optimizer.safetensors"])
        _fill_optimizer(model, optimizer, slots, counters, device)
        return RunState(**facts), ema
    except (RuntimeError, KeyError, ValueError, TypeError, SafetensorError) as error:
        raise CheckpointError(
            f"{folder} does not fit this recipe: {error}",
            code="checkpoint.invalid",
            hint="Use another run folder, or the recipe that the checkpoint was made with.",
        ) from error


def mean_weights(run_dir: Path, count: int, prefix: str = "decoder.") -> dict[str, Tensor]:
    """Mean of the weights of the newest `count` whole checkpoints; names without the `prefix` of the decoder."""
    folders = [folder for folder in list_checkpoints(run_dir) if is_whole(folder)][-count:]
    total: dict[str, Tensor] = {}
    for folder in folders:
        for name, value in load(read_folder(folder)["weights.safetensors"]).items():
            share = value.double() / len(folders)
            total[name] = total[name] + share if name in total else share
    return {name.removeprefix(prefix): value.float() for name, value in total.items()}


def _fill_optimizer(
    model: nn.Module, optimizer: MuonAdamW, slots: dict[str, Tensor], counters: list[int], device: torch.device
) -> None:
    names = dict(model.named_parameters())
    for key, value in slots.items():
        name, slot = key.rsplit("/", 1)
        optimizer.state[names[name]][slot] = value.to(device)
    for group, steps in zip(optimizer.param_groups, counters, strict=True):
        if steps:
            group["steps"] = steps


def _optimizer_tensors(model: nn.Module, optimizer: MuonAdamW) -> tuple[dict[str, Tensor], list[int]]:
    slots = {}
    for name, param in model.named_parameters():
        for slot, value in optimizer.state.get(param, {}).items():
            slots[f"{name}/{slot}"] = value
    return slots, [group.get("steps", 0) for group in optimizer.param_groups]


def _plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().to("cpu").contiguous() for name, value in tensors.items()}
