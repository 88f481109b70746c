"""Loss scaling: what a source adds to the loss does not depend on how hard it is."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor

MEMORY = 0.98
"""Decay of a source's running mean, for each step in which it occurs."""

MOST = 5.0
"""Largest weight of a source, and one over the smallest."""


def source_weights(means: dict[str, float], origins: Sequence[str]) -> Tensor:
    """Weight (B,) of each window: the mean loss of all sources over that of its own; 1 for a source not seen yet."""
    overall = sum(means.values()) / max(len(means), 1)
    known = {name: overall / max(mean, 1e-9) for name, mean in means.items()}
    return torch.tensor([known.get(name, 1.0) for name in origins]).clamp(1 / MOST, MOST)


def move_means(means: dict[str, float], origins: Sequence[str], losses: Tensor) -> None:
    """Move the running means towards the losses (B,) of a step; what is not finite counts for nothing."""
    found: dict[str, list[float]] = defaultdict(list)
    for name, loss in zip(origins, losses.tolist(), strict=True):
        if math.isfinite(loss):
            found[name].append(loss)
    for name, values in sorted(found.items()):
        mean = sum(values) / len(values)
        means[name] = MEMORY * means[name] + (1 - MEMORY) * mean if name in means else mean
