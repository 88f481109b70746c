"""The parts that series are made of: noise, filters, trends and seasons; all (rows, length), of similar size."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from tsar.training.synth.draws import chance, log_uniform, normal, one_of, standardize, switch, uniform

CALENDAR = (4.0, 5.0, 6.0, 7.0, 7.0, 12.0, 12.0, 12.0, 24.0, 24.0, 30.4, 48.0, 52.18, 96.0, 168.0, 288.0, 336.0, 365.25)
DOUBLE = (
    (24.0, 168.0), (24.0, 168.0), (7.0, 365.25), (7.0, 30.4), (48.0, 336.0), (96.0, 672.0), (288.0, 2016.0),
    (12.0, 60.0), (12.0, 132.0), (24.0, 8766.0), (4.0, 16.0), (52.18, 13.0), (5.0, 21.0), (60.0, 1440.0),
)  # fmt: skip
"""Pairs of periods that occur together: hours of day and week, days of week and year, …"""

TABLE = 512


def convolve(series: Tensor, kernel: Tensor) -> Tensor:
    """Causal convolution along time through the FFT: the linear recursion with impulse response `kernel`."""
    length = series.shape[-1]
    size = 2 * length
    filtered: Tensor = torch.fft.irfft(torch.fft.rfft(series, size) * torch.fft.rfft(kernel, size), size)
    return filtered[..., :length]


def steps(generator: Generator, length: int) -> Tensor:
    """0, 1, …, length - 1 as floats."""
    return torch.arange(length, device=generator.device, dtype=torch.float32)


def slow(generator: Generator, rows: int, length: int, low: float, high: float) -> Tensor:
    """First-order autoregression with coefficient in [low, high]: a slowly wandering level, deviation 1."""
    decay = log_uniform(generator, rows, 1, low=1 - high, high=1 - low)
    return standardize(convolve(normal(generator, rows, length), (1 - decay) ** steps(generator, length)))


def noise(generator: Generator, rows: int, length: int) -> Tensor:
    """White, heavy-tailed, moving-average or with wandering volatility; deviation 1."""
    white = normal(generator, rows, length)
    square = normal(generator, 3, rows, length).square().mean(0)
    heavy = white / square.clamp_min(0.1).sqrt()  # Student-t with three degrees of freedom, cut far out
    spread = white * torch.exp(0.7 * slow(generator, rows, length, 0.8, 0.998))
    smooth = white + uniform(generator, rows, 1, low=-0.8, high=0.8) * torch.roll(white, 1, -1)
    return standardize(switch(generator, (white, heavy, spread, smooth), (4, 2, 2, 2)))


def period(generator: Generator, rows: int) -> Tensor:
    """Calendar periods mostly, else any from 2 to 400."""
    free = log_uniform(generator, rows, 1, low=2.0, high=400.0).round()
    return torch.where(chance(generator, 0.7, rows, 1), one_of(generator, rows, CALENDAR), free)


def season(generator: Generator, rows: int, length: int, periods: Tensor | None = None) -> Tensor:
    """One season: a few harmonics or a free profile, with an amplitude that may wander; deviation about 1."""
    periods = period(generator, rows) if periods is None else periods
    turn = steps(generator, length) / periods + uniform(generator, rows, 1)
    order = torch.arange(1, 7, device=generator.device)
    height = (
        normal(generator, rows, 6) * order ** -uniform(generator, rows, 1, low=0.3, high=2.0) * (2 * order <= periods)
    )
    shift = uniform(generator, rows, 6)
    table_turn = torch.linspace(0, 1, TABLE + 1, device=generator.device)[:-1]
    angle = 2 * math.pi * (order[:, None] * table_turn + shift[..., None])
    harmonics = (height[..., None] * torch.sin(angle)).sum(1)
    rough = normal(generator, rows, TABLE)
    smooth = torch.nn.functional.avg_pool1d(rough[:, None], 5, 1, 2)[:, 0]
    peaks = torch.relu(rough - 0.5)
    profile = switch(generator, (rough, smooth, peaks), (2, 2, 1))
    fine = (turn % 1) * TABLE
    wave = harmonics.gather(1, fine.long().clamp(0, TABLE - 1))
    slot = ((turn % 1) * periods.clamp_max(TABLE)).long().clamp(0, TABLE - 1)  # one entry for each step of the period
    shape = switch(generator, (standardize(wave), standardize(profile.gather(1, slot))))
    wander = 1 + 0.5 * slow(generator, rows, length, 0.99, 0.9995) * chance(generator, 0.3, rows, 1)
    return shape * wander


def seasons(generator: Generator, rows: int, length: int) -> Tensor:
    """One season, or two whose periods occur together."""
    pairs = torch.tensor(DOUBLE, device=generator.device)
    pair = pairs[torch.randint(len(DOUBLE), (rows,), generator=generator, device=generator.device)]
    first, second = season(generator, rows, length, pair[:, :1]), season(generator, rows, length, pair[:, 1:])
    both = standardize(first + log_uniform(generator, rows, 1, low=0.1, high=1.5) * second)
    return switch(generator, (season(generator, rows, length), both), (6, 4))


def trend(generator: Generator, rows: int, length: int) -> Tensor:
    """Linear, exponential, damped, logistic, broken, or wandering; deviation about 1."""
    time = torch.linspace(0, 1, length, device=generator.device).expand(rows, -1)
    slope = normal(generator, rows, 1)
    linear = time * slope * 3
    exponential = standardize(torch.exp(time * uniform(generator, rows, 1, low=-3, high=4)))
    damped = (1 - torch.exp(-log_uniform(generator, rows, 1, low=1, high=20) * time)) * slope * 3
    bend = (time - uniform(generator, rows, 1)) * log_uniform(generator, rows, 1, low=4, high=40)
    logistic = torch.sigmoid(bend) * slope * 3
    broken = linear
    for _ in range(2):
        broken = broken + torch.relu(time - uniform(generator, rows, 1)) * normal(generator, rows, 1) * 5
    walk = standardize(normal(generator, rows, length).cumsum(-1))
    smooth_walk = standardize(convolve(walk, 0.97 ** steps(generator, length)))
    return switch(generator, (linear, exponential, damped, logistic, broken, walk, smooth_walk), (3, 2, 2, 1, 2, 1, 1))


def some(generator: Generator, rows: int, probability: float, low: float, high: float) -> Tensor:
    """A log-uniform size for a part, or 0 for rows without it; (rows, 1)."""
    return log_uniform(generator, rows, 1, low=low, high=high) * chance(generator, probability, rows, 1)
