"""Families of the classical linear models: exponential smoothing, ARIMA, Theta, walks and mean reversion.

Their recursions are convolutions with an impulse response, or products with a transfer function on a circle, so that
nothing loops over time.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from tsar.training.synth.dice import Dice, bounded, standardize
from tsar.training.synth.filters import (
    circle,
    convolve,
    fade,
    frequencies,
    memory,
    per_segment,
    powers,
    segments,
    wander,
)
from tsar.training.synth.noise import noise, shocks
from tsar.training.synth.seasonal import calendar, profile, read, season, seasons, turns
from tsar.training.synth.trend import horizon, trend

SHORT_PERIODS = (4.0, 12.0, 7.0, 24.0, 52.0, 5.0, 6.0, 48.0, 1.0)
SHORT_WEIGHTS = (6.0, 9.0, 3.0, 2.5, 1.5, 0.5, 0.5, 0.5, 9.0)
"""Seasons of the classical simulators; 1 stands for none."""


def exponential_smoothing(rows: int, length: int, generator: Generator) -> Tensor:
    """State-space models ETS, errors, trends and seasons added or multiplied (Hyndman et al., 2008, chapter 2).

    In innovations form an observation is the initial state carried forward plus the innovations weighted by
    ``1, alpha + beta (phi + … + phi^j) + gamma [j is a multiple of the period]``. Multiplied models are the exponential
    of such a path; products of a straight trend and a season are made as such.
    """
    dice = Dice.of(rows, length, generator)
    period = dice.pick(SHORT_PERIODS, SHORT_WEIGHTS)
    innovations = dice.blend(((0.4, _plain), (0.6, noise)), period.clamp_min(2.0))
    alpha = dice.blend(((4, _quick), (2, _uniform), (3, _slow)))
    phi = torch.where(dice.coin(0.5), dice.uniform(0.8, 0.99), 1.0)
    damped = powers(phi, dice.time + 1).cumsum(-1)
    beta = alpha * dice.some(0.6, 0.001, 0.6)
    gamma = (1 - alpha).clamp_min(0.0) * dice.some(0.7, 0.001, 0.3) * (period > 1)
    again = (dice.time.remainder(period) == 0).float()
    response = torch.cat([torch.ones_like(alpha), (alpha + beta * damped + gamma * again.roll(-1, -1))[:, :-1]], 1)
    slope = dice.normal() * dice.some(0.8, 0.01, 2.0)
    level = convolve(innovations, response) + slope * damped
    wave = read(profile(dice, period), turns(dice, period)) * (period > 1)
    return dice.blend(((45, _ets_added), (35, _ets_multiplied), (20, _ets_mixed)), level, wave)


def _plain(dice: Dice, period: Tensor) -> Tensor:
    return dice.normal(dice.length)


def _quick(dice: Dice) -> Tensor:
    return dice.uniform(0.7, 1.3)


def _uniform(dice: Dice) -> Tensor:
    return dice.uniform()


def _slow(dice: Dice) -> Tensor:
    return dice.log_uniform(0.003, 0.5)


def _ets_added(dice: Dice, level: Tensor, wave: Tensor) -> Tensor:
    return level + wave * dice.log_uniform(0.2, 10.0)


def _ets_multiplied(dice: Dice, level: Tensor, wave: Tensor) -> Tensor:
    rate = dice.log_uniform(0.003, 0.15)
    return torch.exp(bounded(level * rate, 4.5) + bounded(wave * dice.log_uniform(0.02, 0.7), 2.5))


def _ets_mixed(dice: Dice, level: Tensor, wave: Tensor) -> Tensor:
    """Level far above zero, times a season."""
    floor = level.amin(-1, keepdim=True)
    reach = level.amax(-1, keepdim=True) - floor
    base = (level - floor) / (reach + 1e-6) + dice.log_uniform(0.05, 5.0)
    return base * torch.relu(1 + wave * dice.log_uniform(0.02, 0.6))


def theta(rows: int, length: int, generator: Generator) -> Tensor:
    """A line and a smoothed walk in equal parts, times or plus a season (Assimakopoulos and Nikolopoulos, 2000).

    The line breaks now and then, as in the yearly and quarterly series that the Theta method is good at.
    """
    dice = Dice.of(rows, length, generator)
    period = dice.pick((1.0, 4.0, 12.0), (4, 4, 4))
    number, _ = segments(dice, dice.log_uniform(20.0, 4.0 * length))
    steady = dice.normal() * dice.log_uniform(0.03, 2.0)
    drift = per_segment(steady * (1 + dice.log_uniform(0.1, 2.0) * dice.normal(32)), number)
    alpha = torch.where(dice.coin(0.6), dice.uniform(0.5, 1.2), dice.uniform(0.02, 0.5))
    shock = dice.blend(((0.4, _plain), (0.6, noise)), period.clamp_min(2.0))
    level = (alpha * shock + drift).cumsum(-1) + (1 - alpha) * shock
    wave = season(dice, period * (period > 1))
    return dice.blend(((4, _ets_added), (6, _ets_multiplied)), level, wave)


def arima(rows: int, length: int, generator: Generator) -> Tensor:
    """ARIMA with up to two real roots and a pair of complex ones, seasonal roots, and 0 to 2 integrations.

    The stationary part is made on a circle, by its transfer function, so that it is stationary from the first point.
    """
    dice = Dice.of(rows, length, generator)
    stationary = stationary_arma(dice)
    level = dice.blend(((35, _not_integrated), (50, _integrated_once), (15, _integrated_twice)), stationary)
    return level + season(dice, calendar(dice)[:, :1]) * dice.some(0.3, 0.1, 3.0)


def stationary_arma(dice: Dice) -> Tensor:
    """Stable seasonal ARMA of deviation about 1, (rows, length)."""
    omega = frequencies(dice)
    unit = torch.polar(torch.ones_like(omega), -omega)
    transfer = torch.ones(dice.rows, len(omega), dtype=unit.dtype, device=dice.device)
    for _ in range(2):
        root = torch.where(dice.coin(0.5), 1 - dice.log_uniform(0.002, 1.0), dice.uniform(-0.8, 0.9)) * dice.coin(0.65)
        average = dice.uniform(-0.9, 0.9) * dice.coin(0.35)
        transfer = transfer * (1 - average * unit) / (1 - root * unit)
    radius = (1 - dice.log_uniform(0.003, 0.5)) * dice.coin(0.35)
    turn = 2 * math.pi / dice.log_uniform(2.2, 60.0)
    transfer = transfer / (1 - 2 * radius * torch.cos(turn) * unit + (radius * unit).square())
    period = dice.pick(SHORT_PERIODS, SHORT_WEIGHTS)
    angle = -omega * period
    lagged = torch.polar(torch.ones_like(angle), angle) * (period > 1)
    strength = dice.uniform(0.2, 0.98) * dice.coin(0.6)
    transfer = transfer * (1 - dice.uniform(-0.7, 0.7) * dice.coin(0.4) * lagged) / (1 - strength * lagged)
    size = circle(dice.length)
    white = shocks(Dice(dice.rows, size, dice.generator, dice.host))
    return standardize(torch.fft.irfft(torch.fft.rfft(white) * transfer, size)[:, : dice.length])


def _not_integrated(dice: Dice, series: Tensor) -> Tensor:
    return series + trend(dice) * dice.some(0.25, 0.1, 5.0)


def _integrated_once(dice: Dice, series: Tensor) -> Tensor:
    return (series + dice.normal() * dice.some(0.5, 0.01, 0.5)).cumsum(-1)


def _integrated_twice(dice: Dice, series: Tensor) -> Tensor:
    """A slope that walks slowly below a noisy level."""
    slope = dice.normal() * dice.log_uniform(0.03, 1.0) + (series * dice.log_uniform(0.001, 0.1)).cumsum(-1)
    return (slope + dice.normal(dice.length)).cumsum(-1) + dice.normal(dice.length) * dice.some(0.5, 0.1, 3.0)


def random_walk(rows: int, length: int, generator: Generator) -> Tensor:
    """Walks with changing drift and volatility, plain or geometric: prices, rates, levels."""
    dice = Dice.of(rows, length, generator)
    number, _ = segments(dice, dice.log_uniform(10.0, 3.0 * length))
    steady = dice.normal() * dice.log_uniform(0.005, 0.3)
    drift = per_segment(steady + dice.some(0.5, 0.01, 0.5) * dice.normal(32), number)
    jumps = dice.normal(length) * dice.coin(dice.some(0.2, 0.002, 0.02), length) * dice.log_uniform(2.0, 10.0)
    path = (noise(dice) + drift + jumps).cumsum(-1)
    path = path + dice.normal(length) * dice.some(0.3, 0.1, 3.0)
    return dice.blend(((5, _as_it_is), (4, _price), (1, _rounded)), path)


def _as_it_is(dice: Dice, path: Tensor, *_: Tensor) -> Tensor:
    return path


def _price(dice: Dice, path: Tensor) -> Tensor:
    return torch.exp(bounded(path * dice.log_uniform(0.002, 0.06), 5.0))


def _rounded(dice: Dice, path: Tensor) -> Tensor:
    """Interest rates and tariffs: moves on a grid, with long rests."""
    grid = dice.log_uniform(1.0, 20.0)
    return (path / grid).round() * grid


def volatility(rows: int, length: int, generator: Generator) -> Tensor:
    """Stochastic volatility: prices, returns, and the size of returns, whose spread reverts slowly to its mean."""
    dice = Dice.of(rows, length, generator)
    log_spread = memory(dice, 5.0, 300.0) * dice.uniform(0.3, 1.2) + 0.3 * memory(dice, 2.0, 20.0)
    returns = dice.blend(((0.6, _plain), (0.4, shocks)), log_spread) * torch.exp(log_spread)
    return dice.blend(((3, _geometric), (2, _as_it_is), (2, _absolute), (2, _spread)), returns, log_spread)


def _geometric(dice: Dice, returns: Tensor, log_spread: Tensor) -> Tensor:
    drift = dice.normal() * dice.log_uniform(0.005, 0.1)
    return torch.exp(bounded((returns + drift).cumsum(-1) * dice.log_uniform(0.003, 0.05), 5.0))


def _absolute(dice: Dice, returns: Tensor, log_spread: Tensor) -> Tensor:
    size = returns.abs()
    return torch.where(dice.coin(0.5), size, size.square().clamp_max(1e3))


def _spread(dice: Dice, returns: Tensor, log_spread: Tensor) -> Tensor:
    """Trading volume and implied volatility."""
    weekly = season(dice, dice.pick((5.0, 7.0, 21.0))) * dice.some(0.5, 0.05, 0.3)
    return torch.exp(log_spread + weekly + dice.normal(dice.length) * dice.log_uniform(0.02, 0.4))


def regimes(rows: int, length: int, generator: Generator) -> Tensor:
    """Mean reversion (Ornstein-Uhlenbeck) to a level, with a spread, that both change between a few or many regimes."""
    dice = Dice.of(rows, length, generator)
    number, _ = segments(dice, dice.log_uniform(15.0, length))
    states = dice.pick((2.0, 3.0, 8.0, 64.0))
    number = per_segment((dice.uniform(width=64) * states).long(), number)
    level = per_segment(dice.normal(64) * dice.log_uniform(0.5, 6.0), number)
    spread = per_segment(dice.log_uniform(0.2, 2.0, 64), number)
    shock = dice.blend(((0.6, _plain), (0.4, shocks)), level) * spread
    pace = torch.exp(-1 / dice.log_uniform(0.5, 60.0))
    path = fade(level * (1 - pace) + shock * torch.sqrt(1 - pace * pace), pace)
    lively = path + shock * dice.some(0.5, 0.1, 1.5) * per_segment(dice.coin(0.5, 64).float(), number)
    wave = seasons(dice, calendar(dice)) * dice.some(0.4, 0.2, 3.0)
    return lively + wave + wander(dice, horizon(dice)) * dice.some(0.3, 0.3, 3.0)
