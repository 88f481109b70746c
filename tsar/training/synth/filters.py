"""Linear recursions and random processes without a loop over time: convolutions and spectra through the FFT."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from tsar.training.synth.dice import Dice

BLOCK = 32
WAVES = 16


def fast_size(at_least: int) -> int:
    """Smallest size, not below `at_least`, whose FFT is quick."""
    step = 1 << max(at_least.bit_length() - 4, 0)
    return next(many * step for many in (8, 9, 10, 12, 15, 16, 18) if many * step >= at_least)


def convolve(series: Tensor, response: Tensor) -> Tensor:
    """Causal convolution along time: the linear recursion whose impulse response is `response`."""
    length = series.shape[-1]
    size = fast_size(2 * length - 1)
    spectrum = torch.fft.rfft(series, size) * torch.fft.rfft(response, size)
    result: Tensor = torch.fft.irfft(spectrum, size)
    return result[..., :length]


def powers(base: Tensor, exponent: Tensor) -> Tensor:
    """``base ** exponent`` for a base in (0, 1]; cheaper than the general power."""
    return torch.exp(torch.log(base.clamp_min(1e-12)) * exponent)


def fade(series: Tensor, decay: Tensor) -> Tensor:
    """Recursion ``y_t = decay * y_{t-1} + x_t`` from rest."""
    time = torch.arange(series.shape[-1], device=series.device, dtype=torch.float32)
    return convolve(series, powers(decay, time))


def circle(length: int) -> int:
    """Points of the circle on which stationary processes are made: too long for its closing to show in a window."""
    return fast_size(2 * length)


def frequencies(dice: Dice) -> Tensor:
    """Angular frequencies of the circle, from 0 to pi, (circle // 2 + 1,)."""
    return torch.linspace(0, math.pi, circle(dice.length) // 2 + 1, device=dice.device)


def coloured(dice: Dice, amplitude: Callable[[Tensor], Tensor]) -> Tensor:
    """Stationary Gaussian process with deviation 1 and the given amplitude at each angular frequency.

    Stationary from its first point: no run-in is needed.
    """
    size = circle(dice.length)
    height = amplitude(frequencies(dice))
    power = height.square()
    both_sides = 2 * power.sum(-1, keepdim=True) - power[:, :1] - power[:, -1:]
    draws = dice.normal(2 * height.shape[-1]).view(dice.rows, -1, 2)
    draws[:, :: height.shape[-1] - 1] *= math.sqrt(2)  # of the lowest and the highest only the real part counts
    spectrum = torch.view_as_complex(draws) * (height * size * (2 * both_sides).clamp_min(1e-12).rsqrt())
    series: Tensor = torch.fft.irfft(spectrum, size)
    return series[:, : dice.length]


def autoregression(dice: Dice, decay: Tensor) -> Tensor:
    """First-order autoregression with the given coefficient (rows, 1); deviation 1."""
    return coloured(dice, lambda omega: (1 - 2 * decay * torch.cos(omega) + decay * decay).rsqrt())


def memory(dice: Dice, low: float, high: float) -> Tensor:
    """First-order autoregression that forgets in `low` to `high` steps; deviation 1."""
    return autoregression(dice, torch.exp(-1 / dice.log_uniform(low, high)))


def fourier_sum(dice: Dice, omega: Tensor) -> Tensor:
    """Sum of waves of deviation 1 and random phase.

    Time is cut into blocks, and ``cos(a + b) = cos a cos b - sin a sin b`` takes the start of a block apart from the
    place in it: few sines are computed, the rest is one product of matrices.

    Parameters
    ----------
    omega
        (rows, waves) angular frequencies.

    Returns
    -------
    Tensor
        (rows, length), deviation 1 in all.
    """
    blocks = -(-dice.length // BLOCK)
    start = omega[:, None] * (torch.arange(blocks, device=dice.device) * BLOCK)[:, None]
    start = start + dice.uniform(0.0, 2 * math.pi, omega.shape[1])[:, None]
    place = omega[:, None] * torch.arange(BLOCK, device=dice.device)[:, None]
    left = torch.cat([torch.cos(start), -torch.sin(start)], -1)
    right = torch.cat([torch.cos(place), torch.sin(place)], -1)
    series = (left @ right.mT).view(dice.rows, -1)[:, : dice.length]
    return series * math.sqrt(2 / omega.shape[1])


def wander(dice: Dice, scale: Tensor) -> Tensor:
    """Smooth process that changes its course about every `scale` steps (rows, 1); deviation 1.

    A Gaussian process with squared exponential kernel, by random Fourier features (Rahimi and Recht, 2007).
    """
    return fourier_sum(dice, 2 * dice.normal(WAVES) / scale)


def segments(dice: Dice, duration: Tensor) -> tuple[Tensor, Tensor]:
    """Divide time at random places.

    Parameters
    ----------
    duration
        (rows, 1), mean length of a segment.

    Returns
    -------
    number
        (rows, length) int64, counts up from 0.
    age
        (rows, length) steps since the segment began; the first one began before the window.
    """
    starts = dice.coin(1 / duration.clamp_min(1.0), dice.length)
    began = torch.where(starts, dice.time, -(duration * dice.uniform()).floor()).cummax(-1).values
    return starts.cumsum(-1), dice.time - began


def per_segment(values: Tensor, number: Tensor) -> Tensor:
    """Give each segment one of the values (rows, many), in turn."""
    return values.gather(1, number % values.shape[1])
