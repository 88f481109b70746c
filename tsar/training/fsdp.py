"""FSDP2: weights, gradients and the optimizer's state shared out over the processes, by torch's `fully_shard`.

accelerate starts the processes and says by its launch file that this is wanted; it does not shard on a CPU (it falls
back to DDP there without a word), so the sharding is done here, alike on CPUs and GPUs.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor
from torch.distributed import get_world_size, is_initialized
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from tsar.logging import get_logger
from tsar.training.optim import MuonAdamW, OptimConfig, make_optimizer

logger = get_logger(__name__)


def wants_sharding() -> bool:
    """Whether the launch file asks for FSDP, and there are several processes."""
    return os.environ.get("ACCELERATE_USE_FSDP") == "true" and is_initialized() and get_world_size() > 1


def shard(
    objective: Any, optimizer: MuonAdamW, ema: dict[str, Tensor], config: OptimConfig, device: torch.device
) -> tuple[MuonAdamW, dict[str, Tensor]]:
    """Share out an objective's weights, in place, and return its optimizer and running mean shared out likewise.

    All processes hold the same whole tensors before.
    """
    slots = {name: optimizer.state.get(param, {}) for name, param in objective.named_parameters()}
    mesh = init_device_mesh(device.type, (get_world_size(),))
    for block in objective.decoder.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(objective, mesh=mesh)
    logger.info("weights are shared out over %d processes", get_world_size())
    sharded = make_optimizer(objective, config)
    for name, param in objective.named_parameters():
        for slot, value in sorted(slots[name].items()):  # in one order everywhere: processes exchange parts
            sharded.state[param][slot] = distribute_tensor(value, mesh, param.placements)
    for group, before in zip(sharded.param_groups, optimizer.param_groups, strict=True):
        if "steps" in before:
            group["steps"] = before["steps"]
    places = {name: value.placements for name, value in objective.decoder.state_dict().items()}
    return sharded, {name: distribute_tensor(value, mesh, places[name]) for name, value in sorted(ema.items())}


def whole(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors put together again; all processes call it together. Whole ones stay as they are."""
    together = sorted(tensors.items())
    return {name: value.full_tensor() if isinstance(value, DTensor) else value for name, value in together}
