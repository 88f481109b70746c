"""Trends whose change over a row's own horizon is about 1, so that short crops of a window have a trend too."""

from __future__ import annotations

import torch
from torch import Tensor

from tsar.training.synth.dice import Dice, bounded
from tsar.training.synth.filters import coloured, fade, per_segment, segments, wander

SEGMENTS = 64


def horizon(dice: Dice, period: Tensor | None = None) -> Tensor:
    """Steps in which a trend shows, (rows, 1): any up to three windows, half of the time some seasons."""
    free = dice.log_uniform(12.0, 3.0 * dice.length)
    if period is None:
        return free
    return torch.where(dice.coin(0.5), period * dice.log_uniform(1.0, 40.0), free).clamp(6.0, 3.0 * dice.length)


def trend(dice: Dice, over: Tensor | None = None) -> Tensor:
    """Trends of all kinds, (rows, length); `over` is the horizon (rows, 1)."""
    over = horizon(dice) if over is None else over
    kinds = (
        (3.0, linear), (2.5, broken), (1.5, random_walk), (1.5, local_line), (1.0, smooth), (1.0, compounding),
        (1.2, damped), (0.8, logistic), (0.8, levels), (0.5, meandering),
    )  # fmt: skip
    return dice.blend(kinds, over)


def linear(dice: Dice, over: Tensor) -> Tensor:
    """A straight line."""
    return (dice.time - dice.length / 2) / over * dice.normal()


def broken(dice: Dice, over: Tensor) -> Tensor:
    """Straight pieces; now and then the level breaks too."""
    number, _ = segments(dice, over * dice.log_uniform(0.5, 4.0))
    slope = per_segment(dice.normal(SEGMENTS) + dice.normal(), number) / over
    jump = per_segment(dice.normal(SEGMENTS), number) * dice.some(0.25, 0.1, 1.0)
    return slope.cumsum(-1) + jump


def random_walk(dice: Dice, over: Tensor) -> Tensor:
    """A random walk, with drift or without."""
    drift = dice.normal() * dice.some(0.5, 0.1, 2.0)
    return (dice.normal(dice.length) * over.rsqrt() + drift / over).cumsum(-1)


def local_line(dice: Dice, over: Tensor) -> Tensor:
    """A line whose slope wanders."""
    return ((wander(dice, over) + dice.normal()) / over).cumsum(-1)


def smooth(dice: Dice, over: Tensor) -> Tensor:
    """Smooth ups and downs."""
    return wander(dice, over)


def meandering(dice: Dice, over: Tensor) -> Tensor:
    """Ups and downs on all scales at once: a spectrum that falls as a power of the frequency."""
    power = dice.uniform(0.6, 1.6)
    return coloured(dice, lambda omega: torch.exp(-power * torch.log(omega + 1 / over)))


def compounding(dice: Dice, over: Tensor) -> Tensor:
    """Exponential growth or decay, over at most a factor of exp(6)."""
    return torch.exp(bounded((dice.time - dice.length * dice.uniform()) / over * dice.normal(), 3.0))


def damped(dice: Dice, over: Tensor) -> Tensor:
    """From one level towards the next, fast at first."""
    number, _ = segments(dice, over * dice.log_uniform(1.0, 6.0))
    target = per_segment(dice.normal(SEGMENTS), number)
    decay = torch.exp(-dice.log_uniform(1.5, 10.0) / over)
    start = dice.normal() * torch.exp(torch.log(decay) * dice.time)
    return fade(target * (1 - decay), decay) + start


def logistic(dice: Dice, over: Tensor) -> Tensor:
    """Growth or decline from one level to the next, slow at both ends."""
    middle = dice.uniform(-0.2, 1.2) * dice.length
    second = middle + over * dice.uniform(-4.0, 4.0)
    speed = dice.log_uniform(3.0, 12.0) / over
    rise = torch.sigmoid((dice.time - middle) * speed) * dice.normal()
    return rise + torch.sigmoid((dice.time - second) * speed) * dice.normal() * dice.coin(0.5)


def levels(dice: Dice, over: Tensor) -> Tensor:
    """Constant levels with sudden steps between them."""
    number, _ = segments(dice, over)
    return per_segment(dice.normal(SEGMENTS), number)
