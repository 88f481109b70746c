"""Families of whole numbers from 0: sales of single articles, demand for spare parts, cases, life cycles."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from tsar.training.synth.dice import Dice, bounded
from tsar.training.synth.filters import fade, memory, segments, wander
from tsar.training.synth.seasonal import calendar, season, seasons
from tsar.training.synth.trend import horizon, trend

MOST = 1e5


def draw_counts(dice: Dice, rate: Tensor) -> Tensor:
    """Poisson or negative binomial counts with the given mean (rows, length)."""
    excess = dice.some(0.6, 0.05, 1.5)  # variance = mean + (excess * mean)²
    gamma = (1 - excess.square() / 9 + excess / 3 * dice.normal(dice.length)).clamp_min(0.0) ** 3
    return poisson(dice, (rate * gamma).clamp(0.0, MOST))


def poisson(dice: Dice, rate: Tensor) -> Tensor:
    """Poisson counts: drawn up to a mean of 12, from the normal law above."""
    drawn = torch.poisson(rate.clamp_max(12.0), generator=dice.generator)
    normal = (rate + rate.sqrt() * dice.normal(dice.length)).round().clamp_min(0.0)
    return torch.where(rate > 12.0, normal, drawn)


def rate_of(dice: Dice, low: float, high: float) -> Tensor:
    """Positive rates with trend and seasons, (rows, length), of median between `low` and `high`."""
    periods = calendar(dice)
    wave = seasons(dice, periods) * dice.some(0.75, 0.05, 0.8)
    level = trend(dice, horizon(dice, periods[:, :1].clamp_min(4.0))) * dice.some(0.7, 0.05, 1.0)
    slow = memory(dice, 3.0, 200.0) * dice.some(0.5, 0.05, 0.4)
    return torch.exp(bounded(wave, 3.0) + bounded(level, 3.0) + slow) * dice.log_uniform(low, high)


def counts(rows: int, length: int, generator: Generator) -> Tensor:
    """Counts whose rate has trend and seasons; some with days without any, some with promotions."""
    dice = Dice.of(rows, length, generator)
    rate = rate_of(dice, 0.3, 300.0)
    rate = dice.maybe(0.25, _promoted, rate)
    drawn = draw_counts(dice, rate)
    return dice.maybe(0.15, _gone_at_times, drawn)


def _promoted(dice: Dice, rate: Tensor) -> Tensor:
    """Promotions of some days or weeks: an uplift, a dip after it."""
    lasts = dice.pick((1.0, 2.0, 4.0, 7.0))
    starts = dice.coin(dice.log_uniform(0.01, 0.06) / lasts, dice.length).float()
    running = fade(starts, torch.exp(-1 / lasts)) * dice.log_uniform(0.5, 5.0)
    dip = fade(starts, torch.exp(-0.4 / lasts)) * dice.uniform(0.0, 0.4)
    return rate * (1 + running) / (1 + dip)


def _gone_at_times(dice: Dice, drawn: Tensor) -> Tensor:
    """Sold out, delisted or closed: runs of exact zeros."""
    number, _ = segments(dice, dice.log_uniform(2.0, 60.0))
    away = dice.coin(dice.uniform(0.05, 0.5), dice.length).gather(1, number)
    return drawn * ~away


def intermittent(rows: int, length: int, generator: Generator) -> Tensor:
    """Demand at random intervals, of random size (Croston, 1972), with bursts, seasons and fading interest."""
    dice = Dice.of(rows, length, generator)
    return dice.blend(((4, _slow_mover), (4, _croston), (2, _bursts)))


def _slow_mover(dice: Dice) -> Tensor:
    """A small rate that changes slowly."""
    return draw_counts(dice, rate_of(dice, 0.02, 1.0))


def _croston(dice: Dice) -> Tensor:
    """Orders now and then; their chance and their size have their own levels."""
    period = calendar(dice)[:, :1]
    tendency = season(dice, period) * dice.some(0.5, 0.3, 1.5) + trend(dice) * dice.some(0.5, 0.3, 2.0)
    ordered = dice.coin(torch.sigmoid(dice.uniform(-3.5, 0.5) + tendency), dice.length)
    spread = dice.some(0.85, 0.1, 1.2)
    size = torch.exp(spread * dice.normal(dice.length)) * dice.log_uniform(0.7, 60.0)
    pack = dice.pick((1.0, 1.0, 1.0, 2.0, 6.0, 10.0, 12.0))
    return ordered * (size / pack).round().clamp(1.0, MOST) * pack


def _bursts(dice: Dice) -> Tensor:
    """Orders that come in clusters."""
    number, age = segments(dice, dice.log_uniform(10.0, 150.0))
    active = dice.coin(dice.uniform(0.2, 0.8), dice.length).gather(1, number)
    rate = active * torch.exp(-age / dice.log_uniform(5.0, 200.0)) * dice.log_uniform(0.3, 20.0)
    return draw_counts(dice, rate)


def life_cycles(rows: int, length: int, generator: Generator) -> Tensor:
    """Products that are launched, rise, hold and fade, one after the other; as counts or smooth quantities."""
    dice = Dice.of(rows, length, generator)
    lasts = dice.log_uniform(20.0, 2.0 * length)
    number, age = segments(dice, lasts * 1.5)
    rise = dice.log_uniform(0.02, 0.4) * lasts
    life = (1 - torch.exp(-age / rise)) * torch.sigmoid((dice.uniform(0.5, 1.5) * lasts - age) / (0.12 * lasts))
    hype = 1 + dice.some(0.4, 0.5, 4.0) * torch.exp(-age / (0.3 * rise))
    height = torch.exp(0.6 * dice.normal(64)).gather(1, number % 64)
    wave = torch.exp(bounded(seasons(dice, calendar(dice)) * dice.some(0.7, 0.05, 0.6), 2.0))
    slow = torch.exp(0.3 * wander(dice, lasts / 4) * dice.uniform())
    rate = life * hype * height * wave * slow * dice.log_uniform(1.0, 1000.0)
    return dice.blend(((7, draw_counts), (3, _sales)), rate)


def _sales(dice: Dice, rate: Tensor) -> Tensor:
    return rate * torch.exp(dice.normal(dice.length) * dice.log_uniform(0.02, 0.4))
