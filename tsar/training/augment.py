"""Transforms that make new series from given ones: the targets change too, unlike in `tsar.training.corrupt`.

All take and give standardised windows (rows, length) float32 with NaN where nothing is known, draw from the given
generator only, and work on whole batches without a host round trip. Mixup follows Chronos (Ansari et al., 2024,
section 4.1), amplitude modulation, censoring and spikes follow TiRex (Auer et al., 2025, appendix).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Probability, per window, of each transform."""

    mixup: float = 0.3
    sign_flip: float = 0.2
    time_flip: float = 0.05
    modulate: float = 0.15
    censor: float = 0.08
    spikes: float = 0.08
    quantize: float = 0.05


def augment(windows: Tensor, config: AugmentConfig, generator: Generator) -> Tensor:
    """Apply each transform to a random share of the windows and return standardised windows again."""
    windows = standardize(windows)
    for probability, transform in (
        (config.mixup, _mixup),
        (config.modulate, _modulate),
        (config.censor, _censor),
        (config.spikes, _spikes),
        (config.quantize, _quantize),
        (config.time_flip, _time_flip),
        (config.sign_flip, _sign_flip),
    ):
        if probability > 0:
            chosen = _uniform(windows, generator, 1) < probability
            windows = torch.where(chosen, transform(windows, generator), windows)
    return standardize(windows)


def standardize(windows: Tensor) -> Tensor:
    """Centre each window and divide by its deviation, both over what is known; clip far outliers at 100 deviations."""
    seen = torch.isfinite(windows)
    count = seen.sum(-1, keepdim=True).clamp_min(1)
    filled = torch.where(seen, windows, 0.0)
    mean = filled.sum(-1, keepdim=True) / count
    centred = torch.where(seen, windows - mean, 0.0)
    deviation = (centred.square().sum(-1, keepdim=True) / count).sqrt()
    scaled = (centred / torch.where(deviation > 1e-12, deviation, 1.0)).clamp(-100, 100)
    return torch.where(seen, scaled, torch.nan)


def _uniform(like: Tensor, generator: Generator, *shape: int) -> Tensor:
    return torch.rand(like.shape[0], *shape, generator=generator, device=like.device)


def _mixup(windows: Tensor, generator: Generator) -> Tensor:
    """Convex combination with one or two other windows of the batch; unknown where any part is unknown.

    Windows whose known parts hardly overlap stay as they are.
    """
    rows = windows.shape[0]
    weights = -torch.log(_uniform(windows, generator, 3).clamp_min(1e-6))  # exponential draws: a flat Dirichlet
    weights = torch.cat([weights[:, :2], weights[:, 2:] * (_uniform(windows, generator, 1) < 0.5)], 1)
    weights = weights / weights.sum(1, keepdim=True)
    first = torch.randperm(rows, generator=generator, device=windows.device)
    second = torch.randperm(rows, generator=generator, device=windows.device)
    third = torch.where(weights[:, 2:] > 0, windows[second], 0.0)
    mixed = weights[:, :1] * windows + weights[:, 1:2] * windows[first] + weights[:, 2:] * third
    known, before = torch.isfinite(mixed).sum(1, keepdim=True), torch.isfinite(windows).sum(1, keepdim=True)
    return torch.where(known >= 0.8 * before, mixed, windows)


def _modulate(windows: Tensor, generator: Generator) -> Tensor:
    """Multiply by a piecewise linear curve through five random heights."""
    length = windows.shape[1]
    heights = torch.exp(0.6 * torch.randn(windows.shape[0], 5, generator=generator, device=windows.device))
    place = torch.linspace(0, 4 - 1e-4, length, device=windows.device)
    left = place.long()
    curve = heights[:, left] + (heights[:, left + 1] - heights[:, left]) * (place - left)
    return windows * curve


def _censor(windows: Tensor, generator: Generator) -> Tensor:
    """Clip at a level within the range, from below or from above."""
    level = 1.5 * torch.randn(windows.shape[0], 1, generator=generator, device=windows.device).clamp(-1.5, 1.5)
    below = torch.maximum(windows, -level.abs())
    above = torch.minimum(windows, level.abs())
    return torch.where(_uniform(windows, generator, 1) < 0.5, below, above)


def _spikes(windows: Tensor, generator: Generator) -> Tensor:
    """Add spikes: at random places or with a period, of one sign and similar height."""
    rows, length = windows.shape
    height = (1.0 + 4.0 * _uniform(windows, generator, 1)) * torch.sign(_uniform(windows, generator, 1) - 0.4)
    rate = torch.exp(torch.log(torch.tensor(0.002)) + 3.0 * _uniform(windows, generator, 1))
    scattered = _uniform(windows, generator, length) < rate
    period = (5 + 195 * _uniform(windows, generator, 1)).round()
    phase = (period * _uniform(windows, generator, 1)).floor()
    regular = torch.arange(length, device=windows.device) % period == phase
    places = torch.where(_uniform(windows, generator, 1) < 0.5, scattered, regular)
    size = 1.0 + 0.3 * torch.randn(rows, length, generator=generator, device=windows.device)
    return windows + places * height * size


def _quantize(windows: Tensor, generator: Generator) -> Tensor:
    """Round to a coarse grid of 3 to 60 steps a deviation range."""
    steps = 0.5 + 10 * _uniform(windows, generator, 1)
    return (windows * steps).round() / steps


def _time_flip(windows: Tensor, generator: Generator) -> Tensor:
    """Reverse the known part; only windows known throughout, others would move their padding to the end."""
    whole = torch.isfinite(windows[:, :1])
    return torch.where(whole, windows.flip(1), windows)


def _sign_flip(windows: Tensor, generator: Generator) -> Tensor:
    return -windows
