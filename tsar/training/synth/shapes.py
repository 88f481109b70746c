"""Families of plain geometric signals: waves with corners, pulses, spikes, steps and ramps."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from tsar.training.synth.dice import Dice
from tsar.training.synth.filters import convolve, fade, per_segment, powers, segments, wander
from tsar.training.synth.noise import noise
from tsar.training.synth.seasonal import calendar, seasons
from tsar.training.synth.trend import trend


def any_period(dice: Dice) -> Tensor:
    """A period of the calendar, or any from 3 to the length, (rows, 1)."""
    return torch.where(
        dice.coin(0.4), calendar(dice)[:, :1].clamp_max(400.0), dice.log_uniform(3.0, dice.length).round()
    )


def waveforms(rows: int, length: int, generator: Generator) -> Tensor:
    """Sawtooth, triangle, square, trapezoid, half waves and discharges; alone or two together, with little noise."""
    dice = Dice.of(rows, length, generator)
    period = any_period(dice).clamp_min(3.0)
    multiple = period * dice.pick((2.0, 3.0, 4.0, 5.0, 7.0, 10.0))
    total = waveform(dice, period) + waveform(dice, multiple) * dice.some(0.35, 0.2, 2.0)
    size = torch.exp(dice.some(0.3, 0.1, 0.6) * wander(dice, period * dice.log_uniform(1.0, 8.0)))
    return total * size + trend(dice) * dice.some(0.4, 0.2, 4.0) + noise(dice, period) * dice.some(0.7, 0.002, 0.5)


def waveform(dice: Dice, period: Tensor) -> Tensor:
    """One wave with corners, from 0 to 1, (rows, length)."""
    jitter = dice.some(0.2, 0.01, 0.3) * wander(dice, period * 2)
    turn = ((dice.time + (dice.uniform() * period).floor() + 0.5) / period + jitter).remainder(1.0)
    return dice.blend(
        ((2, _sawtooth), (2, _triangle), (2, _trapezoid), (1.5, _pulse), (1.5, _half_wave), (1.5, _discharge)), turn
    )


def _sawtooth(dice: Dice, turn: Tensor) -> Tensor:
    return torch.where(dice.coin(0.6), turn, 1 - turn)


def _triangle(dice: Dice, turn: Tensor) -> Tensor:
    crest = dice.uniform(0.1, 0.9)
    return torch.minimum(turn / crest, (1 - turn) / (1 - crest))


def _trapezoid(dice: Dice, turn: Tensor) -> Tensor:
    """Square with slanted sides; steep ones look square."""
    triangle = 1 - (2 * turn - 1).abs()
    return ((triangle - dice.uniform(0.1, 0.9)) * dice.log_uniform(3.0, 100.0)).clamp(0.0, 1.0)


def _pulse(dice: Dice, turn: Tensor) -> Tensor:
    """Up for a small part of the period."""
    return (turn < dice.log_uniform(0.02, 0.3)).float()


def _half_wave(dice: Dice, turn: Tensor) -> Tensor:
    """A sine, cut below or folded up."""
    sine = torch.sin(2 * math.pi * turn)
    return torch.where(dice.coin(0.5), torch.relu(sine - dice.uniform(-0.5, 0.5)), sine.abs())


def _discharge(dice: Dice, turn: Tensor) -> Tensor:
    """A jump, then a fall that slows down; or the reverse."""
    fall = torch.exp(-turn * dice.log_uniform(1.0, 12.0))
    return torch.where(dice.coin(0.6), fall, 1 - fall)


def spikes(rows: int, length: int, generator: Generator) -> Tensor:
    """Spike trains, regular, jittered or random, sharp or with a tail, on a quiet base with a trend and seasons."""
    dice = Dice.of(rows, length, generator)
    train = dice.blend(((4, _regular), (3, _jittered), (3, _scattered)))
    height = torch.exp(dice.some(0.7, 0.05, 0.8) * dice.normal(length)) * dice.sign(0.8)
    tail = powers(torch.exp(-1 / dice.log_uniform(0.2, 12.0)), dice.time)
    train = dice.maybe(0.5, _tailed, train * height, tail)
    base = trend(dice) * dice.some(0.5, 0.05, 1.5) + seasons(dice, calendar(dice)) * dice.some(0.5, 0.03, 0.6)
    error = noise(dice) * dice.some(0.8, 0.003, 0.3)
    return train + base + error


def _regular(dice: Dice) -> Tensor:
    """One to three spikes in every period, now and then one is left out."""
    period = any_period(dice).clamp_min(3.0).round()
    place = (dice.time + (dice.uniform() * period).floor()).remainder(period)
    total = (place == 0).float()
    for _ in range(2):
        total = total + (place == (dice.uniform() * period).floor()) * dice.some(0.3, 0.3, 1.5)
    return total * ~dice.coin(dice.some(0.2, 0.01, 0.2), dice.length)


def _jittered(dice: Dice) -> Tensor:
    """One spike in each period, not quite at the same place."""
    period = any_period(dice).clamp_min(6.0)
    turn = dice.time / period
    number = turn.long()
    shift = dice.uniform(width=dice.length // 6 + 2).gather(1, number) * dice.log_uniform(0.02, 1.0)
    return ((turn - number - shift).abs() * period < 0.5).float()


def _scattered(dice: Dice) -> Tensor:
    return dice.coin(dice.log_uniform(0.003, 0.08), dice.length).float()


def _tailed(dice: Dice, train: Tensor, tail: Tensor) -> Tensor:
    return convolve(train, tail)


def steps_and_ramps(rows: int, length: int, generator: Generator) -> Tensor:
    """Level shifts, ramps between rests, staircases, and levels that are approached or overshot."""
    dice = Dice.of(rows, length, generator)
    number, age = segments(dice, dice.log_uniform(8.0, 1.5 * length))
    few = dice.pick((2.0, 3.0, 5.0, 64.0))
    number = per_segment((dice.uniform(width=64) * few).long(), number)
    path = dice.blend(((3, _steps), (3, _ramps), (2, _staircase), (2, _approach)), number, age)
    wave = seasons(dice, calendar(dice)) * dice.some(0.5, 0.1, 2.0)
    return path + wave + noise(dice) * dice.some(0.85, 0.003, 0.8)


def _steps(dice: Dice, number: Tensor, age: Tensor) -> Tensor:
    return per_segment(dice.normal(64) * 2, number)


def _ramps(dice: Dice, number: Tensor, age: Tensor) -> Tensor:
    """Straight climbs and falls with rests."""
    slope = dice.normal(64) * dice.coin(0.7, 64)
    return per_segment(slope, number).cumsum(-1) * dice.log_uniform(0.01, 0.3)


def _staircase(dice: Dice, number: Tensor, age: Tensor) -> Tensor:
    """Steps of one direction that come regularly."""
    width = dice.log_uniform(4.0, 120.0).round()
    return ((dice.time + dice.uniform() * width) / width).floor() * dice.log_uniform(0.05, 1.0) * dice.sign()


def _approach(dice: Dice, number: Tensor, age: Tensor) -> Tensor:
    """Step responses: slow approach, or an overshoot that dies out."""
    target = per_segment(dice.normal(64) * 2, number)
    decay = torch.exp(-1 / dice.log_uniform(2.0, 60.0))
    approach = fade(target * (1 - decay), decay)
    ringing = torch.exp(-age / dice.log_uniform(3.0, 60.0)) * torch.cos(age * dice.log_uniform(0.1, 1.5))
    return approach + ringing * dice.some(0.4, 0.3, 1.5)
