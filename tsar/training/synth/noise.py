"""Noise of deviation about 1: plain, heavy-tailed, skewed, coloured, or with a spread that changes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tsar.training.synth.dice import Dice
from tsar.training.synth.filters import autoregression, per_segment, segments, wander

FAR = 12.0
"""Farthest noise reaches, in deviations."""


def noise(dice: Dice, period: Tensor | None = None) -> Tensor:
    """Noise of all kinds, (rows, length).

    Parameters
    ----------
    period
        (rows, 1) of the season that the spread may follow.
    """
    period = dice.log_uniform(4, 400) if period is None else period
    return dice.maybe(0.35, uneven, shocks(dice), period)


def shocks(dice: Dice, *_: Tensor) -> Tensor:
    """Noise whose law is the same at all times."""
    kinds = (
        (4.0, gaussian), (3.0, student), (1.2, laplace), (0.3, flat),
        (0.8, skewed), (1.3, dirty), (0.7, averaged), (0.8, reverting),
    )  # fmt: skip
    return dice.blend(kinds)


def gaussian(dice: Dice) -> Tensor:
    """Normal."""
    return dice.normal(dice.length)


def student(dice: Dice) -> Tensor:
    """Student-t with 1.7 to 12 degrees of freedom, by the polar method of Bailey (1994)."""
    freedom = dice.log_uniform(1.7, 12.0)
    radius = torch.exp(-2 / freedom * torch.log(dice.uniform(1e-6, 1.0, dice.length)))
    heavy = torch.sqrt(freedom * (radius - 1)) * torch.cos(2 * math.pi * dice.uniform(width=dice.length))
    return (0.75 * heavy).clamp(-FAR, FAR)


def laplace(dice: Dice) -> Tensor:
    """Double exponential."""
    side = dice.uniform(-1.0, 1.0, dice.length)
    return -0.7 * torch.sign(side) * torch.log1p(-side.abs().clamp_max(1 - 1e-6))


def flat(dice: Dice) -> Tensor:
    """Uniform."""
    return dice.uniform(-1.73, 1.73, dice.length)


def skewed(dice: Dice) -> Tensor:
    """Log-normal about its mean: rare large values on one side."""
    width = dice.uniform(0.3, 1.0)
    body = torch.exp(width * dice.normal(dice.length) - width * width / 2) - 1
    side = dice.sign(0.8)
    return side * (body / torch.sqrt(torch.exp(width * width) - 1)).clamp_max(FAR)


def dirty(dice: Dice) -> Tensor:
    """Normal with a few outliers."""
    outlier = dice.coin(dice.log_uniform(0.002, 0.05), dice.length) * dice.log_uniform(3.0, 10.0)
    return dice.normal(dice.length) * (1 + outlier)


def averaged(dice: Dice) -> Tensor:
    """Moving average of first order, of either sign."""
    white, weight = dice.normal(dice.length + 1), dice.uniform(-0.9, 0.9)
    return (white[:, 1:] + weight * white[:, :-1]) / torch.sqrt(1 + weight * weight)


def reverting(dice: Dice) -> Tensor:
    """Autoregression: errors that last for some steps."""
    return autoregression(dice, dice.uniform(-0.5, 0.97))


def uneven(dice: Dice, even: Tensor, period: Tensor) -> Tensor:
    """Noise times a spread that wanders, follows a season, or changes between regimes."""
    spread = dice.blend(((3, _wandering_spread), (2, _seasonal_spread), (2, _regime_spread)), period)
    return even * spread


def _wandering_spread(dice: Dice, period: Tensor) -> Tensor:
    return torch.exp(dice.uniform(0.3, 1.0) * wander(dice, dice.log_uniform(4.0, dice.length / 2)) - 0.3)


def _seasonal_spread(dice: Dice, period: Tensor) -> Tensor:
    turn = 2 * math.pi * (dice.time / period + dice.uniform())
    return torch.exp(dice.uniform(0.5, 1.5) * torch.sin(turn) - 0.5)


def _regime_spread(dice: Dice, period: Tensor) -> Tensor:
    number, _ = segments(dice, dice.log_uniform(10.0, dice.length))
    return per_segment(dice.log_uniform(0.2, 2.5, 8), number)


def as_published(dice: Dice, series: Tensor) -> Tensor:
    """What happens to all kinds of series: a few wrong or odd values, a break of the level, rounding."""
    series = dice.maybe(0.08, _with_odd_values, series)
    series = dice.maybe(0.05, _with_break, series)
    return dice.maybe(0.6, _on_grid, series)


def _usual_step(series: Tensor) -> Tensor:
    return series.diff().abs().mean(-1, keepdim=True)


def _with_odd_values(dice: Dice, series: Tensor) -> Tensor:
    size = dice.normal(dice.length) * dice.log_uniform(3.0, 20.0) * _usual_step(series)
    return series + size * dice.coin(dice.log_uniform(0.001, 0.02), dice.length)


def _with_break(dice: Dice, series: Tensor) -> Tensor:
    jump = dice.normal() * dice.log_uniform(3.0, 20.0) * _usual_step(series)
    return series + jump * (dice.time > dice.uniform() * dice.length)


def _on_grid(dice: Dice, series: Tensor) -> Tensor:
    """Round to a grid through 0."""
    spread = (series - series.mean(-1, keepdim=True)).abs().mean(-1, keepdim=True)
    grid = dice.log_uniform(1e-4, 0.3) * spread.clamp_min(1e-9)
    return (series / grid).round() * grid
