"""Families in which hidden series drive the one that is seen, later and not in proportion."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from tsar.training.synth.dice import Dice, standardize
from tsar.training.synth.filters import fade, memory, per_segment, segments, wander
from tsar.training.synth.seasonal import calendar, season
from tsar.training.synth.state_space import stationary_arma

LONGEST_LAG = 48


def driven(rows: int, length: int, generator: Generator) -> Tensor:
    """A random graph of hidden series: three causes, a layer between, and the target; edges have lags and bend.

    The causes are longer than the window by the longest lags, so that every edge has its past.
    """
    dice = Dice.of(rows, length + 2 * LONGEST_LAG, generator)
    first, second, third = edge(dice.times(3), cause(dice.times(3))).chunk(3)
    between = first + second * dice.some(0.7, 0.3, 3.0)
    direct, later = edge(dice.times(2), torch.cat([between, second])).chunk(2)
    total = direct + third * dice.some(0.7, 0.2, 3.0)
    total = total * torch.exp(0.5 * torch.tanh(later) * dice.coin(0.2))
    total = dice.maybe(0.4, _inertia, standardize(total))
    total = total + dice.normal(dice.length) * dice.log_uniform(0.01, 0.5)
    return total[:, 2 * LONGEST_LAG :]


def cause(dice: Dice) -> Tensor:
    """A hidden series that nothing drives, (rows, length)."""
    return dice.blend(((3, stationary_arma), (3, _rhythm), (2, _slow), (1.5, _events)))


def _rhythm(dice: Dice) -> Tensor:
    return season(dice, calendar(dice)[:, :1]) + dice.normal(dice.length) * dice.some(0.5, 0.05, 0.5)


def _slow(dice: Dice) -> Tensor:
    return wander(dice, dice.log_uniform(5.0, dice.length)) + memory(dice, 2.0, 60.0) * dice.uniform()


def _events(dice: Dice) -> Tensor:
    """Something that is there at times."""
    number, _ = segments(dice, dice.log_uniform(3.0, 100.0))
    return 2.0 * per_segment(dice.coin(0.3, 64), number)


def edge(dice: Dice, source: Tensor) -> Tensor:
    """Effect of a series (rows, length) after a lag, through a curve, of deviation 1."""
    lag = (dice.log_uniform(1.0, LONGEST_LAG + 1) - 1).long()
    late = source.gather(1, (torch.arange(dice.length, device=dice.device) - lag).clamp_min(0))
    shape = dice.blend(((4, _straight), (2, _threshold), (2, _saturating), (1, _humped), (1, _growing)), late)
    return standardize(shape) * dice.sign(0.7)


def _straight(dice: Dice, late: Tensor) -> Tensor:
    return late


def _threshold(dice: Dice, late: Tensor) -> Tensor:
    return torch.relu(late - dice.uniform(-1.0, 1.0))


def _saturating(dice: Dice, late: Tensor) -> Tensor:
    return torch.tanh(late * dice.log_uniform(0.5, 5.0) + dice.uniform(-1.0, 1.0))


def _humped(dice: Dice, late: Tensor) -> Tensor:
    """Least at some value in the middle: load against temperature."""
    return (late - dice.uniform(-1.0, 1.0)).abs()


def _growing(dice: Dice, late: Tensor) -> Tensor:
    return torch.exp(late.clamp(-4.0, 2.0))


def _inertia(dice: Dice, series: Tensor) -> Tensor:
    decay = torch.exp(-1 / dice.log_uniform(0.5, 40.0))
    return standardize(fade(series, decay))
