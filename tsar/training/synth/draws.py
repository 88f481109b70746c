"""Random draws, always from the given generator: a column (rows, 1), or the shape asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor


def uniform(generator: Generator, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Uniform in [low, high)."""
    return low + (high - low) * torch.rand(*shape, generator=generator, device=generator.device)


def log_uniform(generator: Generator, *shape: int, low: float, high: float) -> Tensor:
    """Uniform in the logarithm, between `low` and `high`."""
    return torch.exp(uniform(generator, *shape, low=math.log(low), high=math.log(high)))


def normal(generator: Generator, *shape: int) -> Tensor:
    """Standard normal."""
    return torch.randn(*shape, generator=generator, device=generator.device)


def chance(generator: Generator, probability: float, *shape: int) -> Tensor:
    """True with the given probability."""
    return torch.rand(*shape, generator=generator, device=generator.device) < probability


def one_of(generator: Generator, rows: int, values: Sequence[float]) -> Tensor:
    """One of `values` for each row, (rows, 1)."""
    table = torch.tensor(values, device=generator.device)
    return table[torch.randint(len(values), (rows, 1), generator=generator, device=generator.device)]


def switch(generator: Generator, options: Sequence[Tensor], weights: Sequence[float] | None = None) -> Tensor:
    """For each row, one of several tensors (rows, length)."""
    rows = options[0].shape[0]
    edges = torch.tensor(weights or [1.0] * len(options), device=generator.device).cumsum(0)
    choice = torch.searchsorted(edges, uniform(generator, rows) * edges[-1], right=True).clamp_max(len(options) - 1)
    stacked = torch.stack(list(options), 1)
    return stacked.gather(1, choice[:, None, None].expand(-1, 1, stacked.shape[-1]))[:, 0]


def standardize(series: Tensor) -> Tensor:
    """Centre and scale each row to mean 0 and deviation 1."""
    return (series - series.mean(-1, keepdim=True)) / (series.std(-1, keepdim=True) + 1e-6)
