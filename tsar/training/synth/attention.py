"""Families of crowds: page views, searches, virality, epidemics."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from tsar.training.synth.counts import draw_counts
from tsar.training.synth.dice import Dice, bounded
from tsar.training.synth.filters import convolve, memory, wander
from tsar.training.synth.noise import noise
from tsar.training.synth.seasonal import season
from tsar.training.synth.trend import trend


def attention(rows: int, length: int, generator: Generator) -> Tensor:
    """Page views and searches: a drifting base, a rhythm, bursts that fade by a power or exponentially."""
    dice = Dice.of(rows, length, generator)
    power = (1 + dice.time / dice.log_uniform(0.5, 15.0)).log() * -dice.uniform(0.8, 2.5)
    exponent = -dice.time / dice.log_uniform(1.0, 80.0)
    hits = dice.coin(dice.log_uniform(0.001, 0.04), length) * torch.exp(dice.normal(length) * dice.uniform(0.5, 1.6))
    burst = convolve(hits, torch.exp(torch.where(dice.coin(0.5), power, exponent))).clamp_min(0.0)
    burst = burst * dice.some(0.85, 0.2, 6.0)
    period = dice.pick((7.0, 24.0, 52.18, 365.25, 12.0), (7, 2, 2, 2, 1))
    rhythm = bounded(season(dice, period) * dice.some(0.8, 0.03, 0.6), 2.5)
    base = memory(dice, 10.0, 300.0) * dice.uniform(0.05, 0.5) + bounded(trend(dice) * dice.some(0.6, 0.1, 1.2), 3.0)
    error = bounded(noise(dice, period) * dice.log_uniform(0.02, 0.35), 2.0)
    views = (torch.exp(base) + burst) * torch.exp(rhythm + error)
    return dice.blend(((5, _smoothly), (3, _views), (2, _search_index)), views)


def _smoothly(dice: Dice, views: Tensor) -> Tensor:
    return views


def _views(dice: Dice, views: Tensor) -> Tensor:
    return (views * dice.log_uniform(2.0, 3000.0)).round()


def _search_index(dice: Dice, views: Tensor) -> Tensor:
    """Whole numbers of which the largest is 100."""
    return (100 * views / views.amax(-1, keepdim=True)).round()


def epidemics(rows: int, length: int, generator: Generator) -> Tensor:
    """Cases in waves, with weekly reporting; the yearly flu; totals that never fall."""
    dice = Dice.of(rows, length, generator)
    cases = dice.blend(((5, _waves), (4, _yearly_flu)))
    reported = bounded(season(dice, torch.full_like(dice.uniform(), 7.0)) * dice.some(0.5, 0.05, 0.5), 2.0)
    cases = cases * torch.exp(reported)
    return dice.blend(((4, draw_counts), (3, _estimated), (2, _totals)), cases * dice.log_uniform(1.0, 2000.0))


def _waves(dice: Dice) -> Tensor:
    """Growth and decline are exponential, at a rate that changes smoothly."""
    scale = dice.log_uniform(8.0, 120.0)
    waves = wander(dice, scale) * dice.uniform(0.8, 2.5) + wander(dice, scale / 3) * dice.uniform(0.0, 0.5)
    start = torch.relu(dice.uniform(0.0, 0.7) * dice.length - dice.time) / scale * dice.some(0.3, 0.5, 3.0)
    return torch.exp(waves - start.clamp_max(12.0))


def _yearly_flu(dice: Dice) -> Tensor:
    """One wave a year, each of another height, width and date; next to nothing in between."""
    per_year = dice.pick((52.18, 52.18, 12.0, 365.25, 26.1))
    turn = dice.time / per_year + dice.uniform()
    year = (turn + 0.5).long()
    many = int(dice.length / 12) + 3
    late = dice.normal(many).gather(1, year) * 0.05
    height = dice.uniform(0.2, 1.5, many).gather(1, year)
    ahead = (turn - year - late) / dice.log_uniform(0.03, 0.15)
    wave = height / torch.cosh(ahead.clamp(-12, 12)).square()
    return (wave + dice.log_uniform(0.003, 0.3)) * torch.exp(0.2 * memory(dice, 1.0, 10.0))


def _estimated(dice: Dice, cases: Tensor) -> Tensor:
    return cases * torch.exp(dice.normal(dice.length) * dice.log_uniform(0.01, 0.3))


def _totals(dice: Dice, cases: Tensor) -> Tensor:
    """Sum of all cases so far."""
    return (cases * torch.exp(0.2 * dice.normal(dice.length))).cumsum(-1) / dice.log_uniform(100.0, 10000.0)


def adoption(rows: int, length: int, generator: Generator) -> Tensor:
    """New things that spread: S-shaped growth of up to three generations (Bass, 1969); users or sales."""
    dice = Dice.of(rows, length, generator)
    users = torch.zeros(rows, length, device=dice.device)
    sales = torch.zeros(rows, length, device=dice.device)
    for number in range(3):
        lasts = dice.log_uniform(0.05, 1.0) * length
        share = torch.sigmoid((dice.time - dice.uniform(-0.1, 1.1) * length) / (0.15 * lasts))
        height = dice.log_uniform(0.3, 3.0) * (dice.coin(0.5) if number else 1.0)
        users = users + height * share
        sales = sales + height * 4 * share * (1 - share)
    period = dice.pick((7.0, 12.0, 52.18, 4.0))
    rhythm = bounded(season(dice, period) * dice.some(0.5, 0.02, 0.3), 2.0)
    path = torch.where(dice.coin(0.6), users, sales + 0.02) + 0.01
    churn = wander(dice, dice.log_uniform(0.03, 0.5) * length) * dice.some(0.5, 0.02, 0.3)
    error = bounded(noise(dice, period) * dice.log_uniform(0.002, 0.25), 2.0)
    return path * torch.exp(rhythm + churn + error) * math.e
