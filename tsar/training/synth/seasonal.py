"""Seasons: which periods occur together, the shape of one period, and how it changes from one to the next."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tsar.training.synth.dice import Dice
from tsar.training.synth.filters import wander

TABLE = 512
"""Places in the table of one period."""

CALENDARS: tuple[tuple[float, float, float, float], ...] = (
    # weight, then the periods that occur together at one sampling rate; 0: none
    (2.5, 4, 0, 0), (0.3, 4, 16, 0), (0.2, 4, 32, 0),
    (5.0, 12, 0, 0), (0.4, 12, 6, 0), (0.4, 12, 60, 0), (0.3, 12, 3, 132),
    (1.6, 52.18, 0, 0), (0.5, 52.18, 13.04, 0), (0.4, 52.18, 4.35, 0), (0.2, 26.09, 52.18, 0),
    (1.8, 7, 0, 0), (1.3, 7, 365.25, 0), (0.8, 7, 30.44, 365.25), (0.6, 365.25, 0, 0),
    (0.5, 5, 261, 0), (0.3, 5, 21.75, 261),
    (2.2, 24, 168, 0), (1.2, 24, 168, 8766), (1.2, 24, 0, 0), (0.3, 168, 0, 0), (0.3, 24, 12, 168),
    (0.8, 48, 336, 0), (0.3, 48, 0, 0), (0.7, 96, 672, 0), (0.4, 96, 0, 0), (0.3, 144, 1008, 0),
    (0.4, 288, 2016, 0), (0.3, 288, 0, 0), (0.2, 60, 1440, 0), (0.1, 1440, 0, 0), (0.2, 60, 3600, 0), (0.1, 10, 60, 0),
)  # fmt: skip


def calendar(dice: Dice) -> Tensor:
    """Periods of the seasons, (rows, 3): of the calendar, or one time in five any from 2 to 400 with a multiple."""
    place = dice.place([line[0] for line in CALENDARS])
    known = torch.cat([dice.constant([line[column] for line in CALENDARS])[place] for column in (1, 2, 3)], 1)
    free = dice.log_uniform(2.0, 400.0).round()
    second = free * dice.uniform(2.0, 12.0).floor() * dice.coin(0.3)
    return torch.where(dice.coin(0.8), known, torch.cat([free, second, torch.zeros_like(free)], 1))


def season(dice: Dice, period: Tensor) -> Tensor:
    """One season of deviation about 1.

    Parameters
    ----------
    period
        (rows, 1), at least 2; 0 gives no season.

    Returns
    -------
    Tensor
        (rows, length).
    """
    present = period > 0
    period = torch.where(present, period, 10.0)
    wave = read(profile(dice, period), turns(dice, period))
    wave = dice.maybe(0.3, _with_changing_size, wave, period)
    wave = dice.maybe(0.15, _with_changing_shape, wave, period)
    return wave * present


def seasons(dice: Dice, periods: Tensor) -> Tensor:
    """Sum of the seasons of `periods` (rows, 3), the first one largest as a rule; deviation about 1."""
    first, second = season(dice.times(2), torch.cat([periods[:, :1], periods[:, 1:2]])).chunk(2)
    weight = dice.log_uniform(0.1, 2.0) * (periods[:, 1:2] > 0)
    third = smooth_season(dice, periods[:, 2:]) * (dice.log_uniform(0.1, 2.0) * (periods[:, 2:] > 0))
    return (first + weight * second) * (1 + weight * weight).rsqrt() + third


def smooth_season(dice: Dice, period: Tensor) -> Tensor:
    """A sine with one overtone, (rows, length): the year in series of hours or days."""
    turn = 2 * math.pi * (dice.time / period.clamp_min(2.0) + dice.uniform())
    return 1.3 * (torch.sin(turn) + dice.uniform(-0.5, 0.5) * torch.sin(2 * turn + 6.3 * dice.uniform()))


def turns(dice: Dice, period: Tensor) -> Tensor:
    """Turns since a random step of the period, (rows, length); half a step off, so that rounding moves no step."""
    return (dice.time + (dice.uniform() * period).floor() + 0.5) / period


def read(table: Tensor, turn: Tensor) -> Tensor:
    """Value of a periodic table (rows, TABLE) after `turn` turns (rows, length)."""
    return table.gather(1, (turn.frac() * TABLE).long().clamp(0, TABLE - 1))


def profile(dice: Dice, period: Tensor) -> Tensor:
    """Shapes of one period, (rows, TABLE), mean 0 and deviation 1 over the places that a whole period meets."""
    kinds = ((4.0, harmonics), (3.0, free_form), (2.0, smooth_form), (1.5, peaks), (0.5, sparse), (0.4, plain_form))
    table = dice.blend(kinds, period)
    table = table - table.mean(-1, keepdim=True)
    return table / table.square().mean(-1, keepdim=True).sqrt().clamp_min(1e-4)


def harmonics(dice: Dice, period: Tensor) -> Tensor:
    """Up to eight harmonics with falling heights."""
    order = dice.constant(range(1, 9))
    height = dice.normal(8) * torch.exp(-torch.log(order) * dice.uniform(0.2, 2.5))
    height = height * (2 * order <= period) * (order <= dice.pick((1.0, 2.0, 4.0, 8.0)))
    angle = 2 * math.pi * (order[:, None] * _places(dice) + dice.uniform(width=8)[..., None])
    return torch.einsum("rk,rkt->rt", height, torch.sin(angle)) + 1e-3 * torch.sin(2 * math.pi * _places(dice))


def free_form(dice: Dice, period: Tensor) -> Tensor:
    """Any height at each step of the period; for some rows a few stand out."""
    heights = dice.normal(TABLE)
    heights = torch.where(dice.coin(0.3), heights * heights.abs(), heights)
    slot = (_places(dice) * period).long().clamp_max(TABLE - 1)
    return heights.gather(1, slot.expand(dice.rows, -1))


def smooth_form(dice: Dice, period: Tensor) -> Tensor:
    """Random heights at 3 to 24 places of the period, joined smoothly."""
    many = dice.log_uniform(3.0, 24.0).floor()
    place = _places(dice) * many
    left = place.long()
    ease = place - left
    ease = ease * ease * (3 - 2 * ease)
    heights = dice.normal(25)
    return torch.lerp(heights.gather(1, left), heights.gather(1, ((left + 1) % many).long()), ease)


def peaks(dice: Dice, period: Tensor) -> Tensor:
    """One to three peaks, sharp or broad, of either sign, steeper on one side."""
    three = dice.times(3)
    ahead = (_places(dice) + three.uniform()).frac() - 0.5
    width = three.log_uniform(0.02, 0.2) * torch.where(ahead > 0, three.log_uniform(0.4, 2.5), 1.0)
    bumps = torch.exp(-0.5 * (ahead / width).square()) * three.uniform(-0.5, 1.0).clamp_min(0.05)
    return bumps.view(3, dice.rows, TABLE).sum(0) * dice.sign(0.75)


def sparse(dice: Dice, period: Tensor) -> Tensor:
    """The same height at almost every step of the period, another at one to three of them."""
    three, periods = dice.times(3), period.repeat(3, 1)
    hit = (_places(dice) * periods).floor() == (three.uniform() * periods).floor()
    return (hit * three.normal()).view(3, dice.rows, TABLE).sum(0)


def plain_form(dice: Dice, period: Tensor) -> Tensor:
    """High for a part of the period and low for the rest, or a ramp, or a triangle."""
    place, part = _places(dice), dice.uniform(0.1, 0.9)
    square = (place < part).float()
    triangle = torch.minimum(place / part, (1 - place) / (1 - part))
    return torch.where(dice.coin(0.5), square, torch.where(dice.coin(0.5), triangle, place))


def _places(dice: Dice) -> Tensor:
    return torch.arange(TABLE, device=dice.device) / TABLE


def _with_changing_size(dice: Dice, wave: Tensor, period: Tensor) -> Tensor:
    scale = (period * dice.log_uniform(1.0, 20.0)).clamp_max(dice.length)
    return wave * torch.exp(dice.uniform(0.1, 0.8) * wander(dice, scale))


def _with_changing_shape(dice: Dice, wave: Tensor, period: Tensor) -> Tensor:
    """Fade into another profile of the same period."""
    other = read(free_form(dice, period), turns(dice, period))
    fading = torch.sigmoid((dice.time / dice.length - dice.uniform()) * dice.log_uniform(2.0, 40.0))
    return torch.lerp(wave, other, fading * dice.uniform(0.3, 1.0))
