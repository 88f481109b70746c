"""Families of economies and populations: compounding growth, cycles, shares, indices; mostly by year or quarter."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from tsar.training.synth.dice import Dice, bounded, standardize
from tsar.training.synth.filters import autoregression, coloured, fade, per_segment, segments, wander
from tsar.training.synth.noise import noise
from tsar.training.synth.seasonal import season
from tsar.training.synth.trend import trend


def growth(rows: int, length: int, generator: Generator) -> Tensor:
    """Quantities whose growth rate drifts, with crises and little noise: output, incomes, prices, trade."""
    dice = Dice.of(rows, length, generator)
    rate = growth_rate(dice)
    path = rate.cumsum(-1) + dice.normal(length) * dice.some(0.7, 0.001, 0.1)
    return dice.blend(((5, _quantity), (2, _logarithm), (1, _change)), path, rate)


def growth_rate(dice: Dice) -> Tensor:
    """Growth a step, (rows, length): a mean that changes rarely, persistent shocks, crises with recoveries."""
    number, _ = segments(dice, dice.log_uniform(30.0, 6.0 * dice.length))
    usual = 0.03 * dice.normal() + dice.some(0.5, 0.003, 0.05) * dice.normal(32)
    inertia = torch.where(dice.coin(0.7), dice.uniform(0.2, 0.98), 0.0)
    shock = dice.blend(((1, _persistent), (1, _abrupt)), inertia) * dice.log_uniform(0.002, 0.12)
    hit = dice.coin(dice.some(0.4, 0.003, 0.03), dice.length) * dice.normal(dice.length) * dice.log_uniform(0.02, 0.3)
    crisis = hit - fade(hit, torch.full_like(inertia, 0.7)) * 0.3 * dice.uniform()
    return per_segment(usual, number) + shock + crisis


def _persistent(dice: Dice, inertia: Tensor) -> Tensor:
    return autoregression(dice, inertia)


def _abrupt(dice: Dice, inertia: Tensor) -> Tensor:
    """Quiet years and a few large changes, which last as well."""
    return fade(noise(dice), inertia) * torch.sqrt(1 - inertia.square())


def _quantity(dice: Dice, path: Tensor, rate: Tensor) -> Tensor:
    return torch.exp(bounded(path, 6.0))


def _logarithm(dice: Dice, path: Tensor, rate: Tensor) -> Tensor:
    return path


def _change(dice: Dice, path: Tensor, rate: Tensor) -> Tensor:
    """Growth rates themselves, of one step or of four."""
    four = rate.cumsum(-1)
    four = four - torch.nn.functional.pad(four, (4, 0))[:, : dice.length]
    return 100 * torch.where(dice.coin(0.5), rate, four)


def population(rows: int, length: int, generator: Generator) -> Tensor:
    """Populations, life expectancy, fertility: so smooth that the last slope is nearly all there is to know."""
    dice = Dice.of(rows, length, generator)
    scale = dice.log_uniform(15.0, 3.0 * length)
    rate = (wander(dice, scale) * dice.log_uniform(0.1, 1.5) + dice.normal()) * dice.log_uniform(0.002, 0.04)
    break_ = dice.coin(dice.some(0.3, 0.002, 0.02), length) * dice.normal(length) * 0.05
    path = (rate + break_).cumsum(-1)
    error = dice.normal(length) * dice.some(0.4, 1e-5, 3e-3)
    grown = torch.exp(bounded(path, 6.0)) * (1 + error)
    bounded_share = torch.sigmoid(1.5 * standardize(path) + dice.normal()) + error
    return torch.where(dice.coin(0.65), grown, bounded_share * 100)


def shares(rows: int, length: int, generator: Generator) -> Tensor:
    """Percentages and rates between fixed bounds: unemployment, literacy, market shares, approval."""
    dice = Dice.of(rows, length, generator)
    path = (dice.normal(length) + dice.normal() * dice.some(0.4, 0.02, 0.5)).cumsum(-1)
    smooth = wander(dice, dice.log_uniform(10.0, length)) * dice.log_uniform(3.0, 30.0)
    path = torch.where(dice.coin(0.5), path, smooth + 0.1 * path) * dice.log_uniform(0.01, 0.15)
    wave = season(dice, dice.pick((4.0, 12.0, 7.0))) * dice.some(0.3, 0.02, 0.3)
    logit = bounded(path, 4.0) + wave + dice.normal() * 1.5 + dice.normal(length) * dice.some(0.7, 0.003, 0.3)
    share = 100 * torch.sigmoid(logit)
    return torch.where(dice.coin(0.4), (share * 10).round() / 10, share)


def business(rows: int, length: int, generator: Generator) -> Tensor:
    """Industry by month or quarter: growth, business cycle, season that shifts slowly, strikes and shocks."""
    dice = Dice.of(rows, length, generator)
    per_year = dice.pick((12.0, 4.0))
    drift = (0.5 + dice.normal()) * dice.log_uniform(0.005, 0.12) / per_year
    cycle = cycle_of(dice, per_year * dice.log_uniform(2.5, 12.0)) * dice.some(0.8, 0.01, 0.2)
    walk = noise(dice, per_year).cumsum(-1) * dice.log_uniform(0.02, 0.25) / per_year
    level = bounded(drift * dice.time + cycle + walk, 4.0)
    wave = bounded(season(dice, per_year) * dice.some(0.8, 0.005, 0.3), 2.0)
    shock = dice.coin(dice.some(0.4, 0.002, 0.02), length) * dice.normal(length) * dice.log_uniform(0.05, 0.5)
    shock = fade(shock, torch.exp(-1 / dice.log_uniform(0.3, 12.0)))
    error = noise(dice, per_year) * dice.log_uniform(0.001, 0.08)
    log_output = level + wave + bounded(shock, 2.0) + bounded(error, 2.0)
    return torch.where(dice.coin(0.8), torch.exp(log_output), log_output)


def cycle_of(dice: Dice, period: Tensor) -> Tensor:
    """A cycle of about the given period, irregular in size and length; deviation 1."""
    width = dice.uniform(0.05, 0.5)
    centre = 2 * math.pi / period
    return coloured(dice, lambda omega: 1 / (1 + ((omega - centre) / (width * centre)).square()))


def slow_movers(rows: int, length: int, generator: Generator) -> Tensor:
    """Short and smooth: a trend that bends slowly, errors about as large as one step; annual and quarterly data."""
    dice = Dice.of(rows, length, generator)
    over = dice.log_uniform(8.0, 200.0)
    path = trend(dice, over) * dice.log_uniform(0.5, 4.0) + wander(dice, over) * dice.some(0.6, 0.1, 1.0)
    lasting, passing = noise(dice.times(2)).chunk(2)
    lasting = fade(lasting, torch.exp(-1 / dice.log_uniform(0.3, 12.0)))
    path = path + (lasting * dice.some(0.8, 0.05, 3.0) + passing * dice.some(0.6, 0.05, 3.0)) / over
    path = dice.maybe(0.15, _filled_in, path)
    grown = torch.exp(bounded(path * dice.log_uniform(0.2, 2.0), dice.uniform(1.0, 5.0)))
    wave = season(dice, torch.full_like(over, 4.0)) * dice.some(0.25, 0.02, 0.5)
    return torch.where(dice.coin(0.5), grown * (1 + 0.3 * torch.tanh(wave)), path + wave)


def _filled_in(dice: Dice, path: Tensor) -> Tensor:
    """Known every few steps, and joined by straight lines: censuses."""
    every = dice.pick((2.0, 3.0, 4.0, 5.0, 10.0))
    place = dice.time / every
    left = (place.floor() * every).long()
    right = torch.minimum(left + every.long(), torch.full_like(left, dice.length - 1))
    return torch.lerp(path.gather(1, left), path.gather(1, right), place.frac())
