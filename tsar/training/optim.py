"""Optimizer and schedule: Muon for the matrices of the trunk, AdamW for everything else; warm-up, stable, decay."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

SCHEDULES = ("wsd", "infinite")


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """Optimizer settings.

    Attributes
    ----------
    kind
        ``"adamw"``, or ``"muon"`` (matrices of the blocks by Muon, the rest by AdamW).
    lr
        Peak learning rate; Muon's updates are rescaled to AdamW's size, so that both share it.
    betas, eps, weight_decay
        As in AdamW. Weight decay is decoupled and acts on matrices only.
    momentum
        Muon's momentum.
    grad_clip
        Largest norm of the gradient.
    warmup, decay
        Shares of the run for linear warm-up and for the final decay.
    final
        Learning rate at the end, as a share of the peak.
    ema
        Decay of the running average of weights, per step.
    schedule
        ``"wsd"``: warm-up, stable, decay, fitted to the run's length. ``"infinite"``: warm-up in `warmup_steps`, then
        the peak for ever, whatever the length (Ibrahim et al., 2024); ``train.anneal_from`` branches off and decays.
    warmup_steps
        Of the infinite schedule.
    z_loss
        See `tsar.training.objectives.NextPatches`; needs a head whose laws have ``logits``.
    """

    kind: str = "adamw"
    lr: float = 2e-3
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-8
    weight_decay: float = 0.05
    momentum: float = 0.95
    grad_clip: float = 1.0
    warmup: float = 0.02
    decay: float = 0.3
    final: float = 0.01
    ema: float = 0.999
    schedule: str = "wsd"
    warmup_steps: int = 200
    z_loss: float = 0.0


def schedule(progress: float, config: OptimConfig) -> float:
    """Learning-rate factor at `progress` in [0, 1] of the run: up, flat, then 1 - sqrt decay (Hägele et al., 2024)."""
    if progress < config.warmup:
        return max(progress / config.warmup, 1e-3)
    begin = 1 - config.decay
    if progress <= begin or config.decay <= 0:
        return 1.0
    done = min((progress - begin) / config.decay, 1.0)
    return config.final + (1 - config.final) * (1 - math.sqrt(done))


def rate_factor(step: int, progress: float, config: OptimConfig, *, annealing: bool) -> float:
    """Learning-rate factor of a step of the run, and its `progress` (of the run, or of a branch that anneals)."""
    if annealing:
        return config.final + (1 - config.final) * (1 - math.sqrt(min(progress, 1.0)))
    if config.schedule == "infinite":
        return min((step + 1) / config.warmup_steps, 1.0)
    return schedule(progress, config)


class MuonAdamW(torch.optim.Optimizer):
    """AdamW, with Muon's orthogonalised momentum for the groups marked ``muon=True``.

    Muon (Jordan, 2024) replaces a matrix's momentum by the nearest orthogonal one through five Newton-Schulz steps;
    the update is scaled by ``0.2 * sqrt(max(rows, columns))`` so that its root mean square is AdamW's (Moonlight,
    Liu et al., 2025). Matrices of one shape are orthogonalised together.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], config: OptimConfig) -> None:
        defaults = {
            "lr": config.lr,
            "betas": config.betas,
            "eps": config.eps,
            "momentum": config.momentum,
            "muon": False,
        }
        super().__init__(groups, {**defaults, "weight_decay": config.weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update all weights once."""
        loss = closure() if closure is not None else None
        for group in self.param_groups:
            params = [param for param in group["params"] if param.grad is not None]
            if params:
                (self._muon if group["muon"] else self._adamw)(params, group)
        return loss

    def _muon(self, params: list[Tensor], group: dict[str, Any]) -> None:
        shapes: dict[torch.Size, list[Tensor]] = defaultdict(list)
        for param in params:
            shapes[param.shape].append(param)
        for shape, alike in shapes.items():
            grads: list[Tensor] = [param.grad for param in alike if param.grad is not None]
            momenta = [self._slot(param, "momentum") for param in alike]
            torch._foreach_lerp_(momenta, grads, 1 - group["momentum"])
            ahead = torch._foreach_lerp(grads, momenta, group["momentum"])
            update = orthogonalize(torch.stack(list(ahead))) * (0.2 * max(shape) ** 0.5)
            torch._foreach_mul_(alike, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(alike, list(update.to(alike[0].dtype).unbind()), alpha=-group["lr"])

    def _adamw(self, params: list[Tensor], group: dict[str, Any]) -> None:
        grads: list[Tensor] = [param.grad for param in params if param.grad is not None]
        first = [self._slot(param, "first") for param in params]
        second = [self._slot(param, "second") for param in params]
        beta1, beta2 = group["betas"]
        group["steps"] = group.get("steps", 0) + 1
        torch._foreach_lerp_(first, grads, 1 - beta1)
        torch._foreach_mul_(second, beta2)
        torch._foreach_addcmul_(second, grads, grads, 1 - beta2)
        size = torch._foreach_sqrt(second)
        torch._foreach_div_(size, (1 - beta2 ** group["steps"]) ** 0.5)
        torch._foreach_add_(size, group["eps"])
        if group["weight_decay"]:
            torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_addcdiv_(params, first, size, value=-group["lr"] / (1 - beta1 ** group["steps"]))

    def _slot(self, param: Tensor, name: str) -> Tensor:
        slots = self.state[param]
        if name not in slots:
            slots[name] = torch.zeros_like(param)
        slot: Tensor = slots[name]
        return slot


@torch.no_grad()
def clip_gradients(params: Iterable[Tensor], limit: float) -> Tensor:
    """Scale the gradients down to norm `limit`; a gradient that is not finite becomes zero. Return the norm.

    Without a host round trip, so that a GPU is never waited for.
    """
    grads = [param.grad for param in params if param.grad is not None]
    norm: Tensor = torch.stack(torch._foreach_norm(grads)).norm()
    finite = torch.isfinite(norm)
    factor = torch.where(finite, (limit / (norm + 1e-6)).clamp_max(1.0), 0.0)
    for grad in grads:
        grad.copy_(torch.where(finite, grad * factor, 0.0))
    return norm


def orthogonalize(matrices: Tensor, steps: int = 5) -> Tensor:
    """Push the singular values of each matrix (N, rows, columns) toward 1 by Newton-Schulz iteration."""
    x = matrices.to(torch.bfloat16 if matrices.is_cuda else matrices.dtype)
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    result: Tensor = (x.mT if tall else x).to(matrices.dtype)
    return result


def make_optimizer(model: nn.Module, config: OptimConfig) -> MuonAdamW:
    """Sort the weights into groups (block matrices, other matrices, vectors) and build the optimizer."""
    block_matrices, matrices, vectors = [], [], []
    for name, param in model.named_parameters():
        if param.ndim < 2:
            vectors.append(param)
        elif config.kind == "muon" and ".blocks." in f".{name}":
            block_matrices.append(param)
        else:
            matrices.append(param)
    groups: list[dict[str, Any]] = [
        {"params": block_matrices, "muon": True},
        {"params": matrices},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return MuonAdamW([group for group in groups if group["params"]], config)
