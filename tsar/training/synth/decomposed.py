"""Families that are sums or products of trend, season and noise, and of random functions."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from tsar.training.synth.dice import Dice, bounded, standardize
from tsar.training.synth.filters import coloured, fourier_sum, wander
from tsar.training.synth.noise import noise
from tsar.training.synth.seasonal import calendar, season, seasons
from tsar.training.synth.trend import horizon, trend


def trend_season_noise(rows: int, length: int, generator: Generator) -> Tensor:
    """Trend, seasons and noise, added or multiplied (as ForecastPFN, Dooley et al., 2023, with more of each part)."""
    dice = Dice.of(rows, length, generator)
    periods = calendar(dice)
    level = trend(dice, horizon(dice, periods[:, :1].clamp_min(2.0)))
    wave = seasons(dice, periods) * dice.coin(0.9)
    error = noise(dice, periods[:, :1].clamp_min(2.0))
    return dice.blend(((45, _added), (40, _multiplied), (15, _scaled)), level, wave, error)


def _added(dice: Dice, level: Tensor, wave: Tensor, error: Tensor) -> Tensor:
    return level * dice.some(0.85, 0.05, 10.0) + wave + error * dice.log_uniform(0.003, 3.0)


def _multiplied(dice: Dice, level: Tensor, wave: Tensor, error: Tensor) -> Tensor:
    """All three grow and shrink together, as sales and passengers do."""
    path = level * dice.coin(0.9) + error * dice.log_uniform(0.003, 3.0)
    path = bounded(path * dice.log_uniform(0.05, 1.5), dice.log_uniform(0.5, 5.0))
    return torch.exp(path + bounded(wave * dice.log_uniform(0.02, 0.8), 4.0))


def _scaled(dice: Dice, level: Tensor, wave: Tensor, error: Tensor) -> Tensor:
    """A level with a trend that is not exponential, times a season, with additive noise."""
    base = torch.relu(1 + bounded(level * dice.log_uniform(0.05, 1.0), 4.0)) + 0.05
    swing = torch.relu(1 + wave * dice.log_uniform(0.05, 0.6))
    return base * swing + error * dice.log_uniform(0.005, 0.5)


def kernel_mixture(rows: int, length: int, generator: Generator) -> Tensor:
    """Sums and products of up to five Gaussian processes (KernelSynth, Ansari et al., 2024, without its matrices)."""
    dice = Dice.of(rows, length, generator)
    first, *others = kernel(dice.times(5)).chunk(5)
    total = first
    for place, part in enumerate(others):
        present, product = dice.coin(0.75 - 0.15 * place), dice.coin(0.3)
        joined = torch.where(product, standardize(total) * part, total + dice.log_uniform(0.2, 3.0) * part)
        total = torch.where(present, joined, total)
    return standardize(total) + dice.normal(length) * dice.some(0.7, 0.003, 0.7)


def kernel(dice: Dice) -> Tensor:
    """One Gaussian process of deviation about 1, its kernel drawn for each row."""
    kinds = (
        (2.5, _smooth_kernel), (2.0, _rough_kernel), (3.5, _periodic_kernel),
        (0.8, _line_kernel), (0.4, _power_kernel), (0.5, _quasi_periodic_kernel),
    )  # fmt: skip
    return dice.blend(kinds)


def _smooth_kernel(dice: Dice) -> Tensor:
    """Squared exponential or, with frequencies of mixed scales, rational quadratic: random Fourier features."""
    scale = dice.log_uniform(0.004, 1.0) * dice.length
    spread = torch.exp(dice.some(0.5, 0.2, 1.5) * dice.normal(32))
    return fourier_sum(dice, dice.normal(32) * spread / scale)


def _rough_kernel(dice: Dice) -> Tensor:
    """Matern kernels of smoothness 1/2 to 5/2, through their spectrum."""
    scale, order = dice.log_uniform(0.002, 0.3) * dice.length, dice.pick((0.5, 0.5, 1.5, 2.5))
    return coloured(
        dice, lambda omega: torch.exp(-(order / 2 + 0.25) * torch.log1p((omega * scale).square() / (2 * order)))
    )


def _periodic_kernel(dice: Dice) -> Tensor:
    return season(dice, calendar(dice)[:, :1])


def _line_kernel(dice: Dice) -> Tensor:
    """Linear, at times squared."""
    line = (dice.time / dice.length - dice.uniform()) * dice.normal() * 3
    return torch.where(dice.coin(0.2), line * line.abs(), line)


def _power_kernel(dice: Dice) -> Tensor:
    """Long memory: the spectrum falls as a power of the frequency."""
    power = dice.uniform(0.2, 1.0)
    return coloured(dice, lambda omega: torch.exp(-power * torch.log(omega + 1e-3)))


def _quasi_periodic_kernel(dice: Dice) -> Tensor:
    """A cycle whose size wanders."""
    period = dice.log_uniform(4.0, 0.6 * dice.length)
    angle = 2 * math.pi * (dice.time / period + dice.uniform())
    scale = period * dice.log_uniform(0.5, 5.0)
    return wander(dice, scale) * torch.cos(angle) + wander(dice, scale) * torch.sin(angle)


def oscillators(rows: int, length: int, generator: Generator) -> Tensor:
    """Cycles whose length and size wander: sunspots, lynx, business cycles, heart beats, engines."""
    dice = Dice.of(rows, length, generator)
    period = dice.log_uniform(4.0, 0.5 * length)
    speed = torch.exp(dice.log_uniform(0.01, 0.4) * wander(dice, period * dice.log_uniform(0.7, 8.0)))
    turn = (speed / period).cumsum(-1) + dice.uniform()
    size = torch.exp(dice.some(0.7, 0.1, 0.7) * wander(dice, period * dice.log_uniform(0.7, 6.0)))
    wave = cycle_shape(dice, turn) * size
    floor = torch.where(dice.coin(0.4), torch.exp(wave * dice.uniform(0.3, 1.5)), wave)
    return floor + noise(dice, period) * dice.log_uniform(0.003, 0.7) + trend(dice) * dice.some(0.3, 0.1, 2.0)


def cycle_shape(dice: Dice, turn: Tensor) -> Tensor:
    """Skewed sine of the given phase, with sharper or flatter crests."""
    angle = 2 * math.pi * turn
    wave = torch.sin(angle + dice.uniform(-0.9, 0.9) * torch.sin(angle))
    return torch.tanh(wave * dice.log_uniform(0.3, 4.0) + dice.uniform(-0.7, 0.7)) * 1.3
