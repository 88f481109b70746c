"""Families of machines: cloud metrics, sensors, queues, switches; bounded, clipped, quantised, with scheduled jobs."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from tsar.training.synth.dice import Dice, standardize
from tsar.training.synth.filters import fade, memory, per_segment, segments, wander
from tsar.training.synth.noise import noise
from tsar.training.synth.seasonal import calendar, season, seasons
from tsar.training.synth.trend import trend

PERIODS = (24.0, 48.0, 96.0, 144.0, 288.0, 60.0, 12.0, 1440.0)


def utilisation(rows: int, length: int, generator: Generator) -> Tensor:
    """Processor and memory use between 0 and 100: a base, a daily rhythm, jobs, bursts, saturation."""
    dice = Dice.of(rows, length, generator)
    period = dice.pick(PERIODS)
    base = dice.log_uniform(0.5, 60.0) * torch.exp(0.3 * wander(dice, dice.log_uniform(20.0, length)))
    rhythm = torch.relu(1 + season(dice, period)) * dice.some(0.7, 1.0, 25.0)
    burst = _bursting(dice) * dice.some(0.6, 5.0, 60.0)
    level = base + rhythm + jobs(dice, period) * dice.some(0.5, 5.0, 50.0) + burst
    level = level * (1 + dice.log_uniform(0.005, 0.3) * noise(dice, period))
    return dice.blend(((7, _percent), (2, _whole_percent), (1, _leaking)), level)


def _bursting(dice: Dice) -> Tensor:
    """Load that comes and goes."""
    number, _ = segments(dice, dice.log_uniform(5.0, 200.0))
    active = per_segment((dice.uniform(width=64) < dice.uniform(0.1, 0.6)).float(), number)
    return active * per_segment(dice.uniform(0.3, 1.0, 64), number)


def jobs(dice: Dice, period: Tensor) -> Tensor:
    """One or two jobs at fixed places of the period, of one height and length; now and then one does not run."""
    total = torch.zeros(dice.rows, dice.length, device=dice.device)
    for number in range(2):
        turn = (dice.time + (dice.uniform() * period).floor()) / period
        runs = ~dice.coin(dice.some(0.4, 0.02, 0.3), dice.length).gather(1, turn.long())
        lasts = (period * dice.log_uniform(0.01, 0.25)).ceil() / period
        total = total + runs * (turn.frac() < lasts) * (dice.uniform(0.3, 1.0) * dice.coin(0.4) if number else 1.0)
    return total


def _percent(dice: Dice, level: Tensor) -> Tensor:
    return level.clamp(0.0, 100.0)


def _whole_percent(dice: Dice, level: Tensor) -> Tensor:
    return level.clamp(0.0, 100.0).round()


def _leaking(dice: Dice, level: Tensor) -> Tensor:
    """Memory that fills up until a restart frees it."""
    _, age = segments(dice, dice.log_uniform(30.0, dice.length))
    return (level * 0.1 + age * dice.log_uniform(0.02, 1.0)).clamp(0.0, 100.0)


def switching(rows: int, length: int, generator: Generator) -> Tensor:
    """Things that are on or off, cycles of charging and discharging, levels held for a while, and rare events."""
    dice = Dice.of(rows, length, generator)
    return dice.blend(((4, _on_off), (3, _thermostat), (2, _held_levels), (2, _rare_bursts)))


def _on_off(dice: Dice) -> Tensor:
    """Power of a machine: nothing or idle, else a level with noise; on by a schedule or at random."""
    period = dice.pick(PERIODS)
    scheduled = season(dice, period) > dice.uniform(-0.5, 1.2)
    at_random = memory(dice, 2.0, 60.0) > dice.uniform(-0.5, 1.2)
    on = torch.where(dice.coin(0.5), scheduled, at_random)
    level = 1 + dice.log_uniform(0.003, 0.4) * noise(dice, period) + 0.2 * wander(dice, period * 2) * dice.coin(0.5)
    return torch.where(on, level, dice.some(0.5, 0.01, 0.2))


def _thermostat(dice: Dice) -> Tensor:
    """Heating and cooling, filling and emptying: exponential legs between two limits, of uneven length."""
    period = dice.log_uniform(6.0, 300.0)
    turn = (torch.exp(dice.some(0.7, 0.03, 0.4) * wander(dice, period)) / period).cumsum(-1).frac()
    part = dice.uniform(0.1, 0.9)
    bend = dice.log_uniform(0.2, 5.0)
    up = (1 - torch.exp(-bend * turn / part)) / (1 - torch.exp(-bend))
    down = torch.exp(-bend * (turn - part) / (1 - part)) - torch.exp(-bend)
    path = torch.where(turn < part, up, down / (1 - torch.exp(-bend)))
    return path + dice.normal(dice.length) * dice.log_uniform(0.002, 0.1) + 0.3 * trend(dice) * dice.coin(0.3)


def _held_levels(dice: Dice) -> Tensor:
    """A walk that is reported only now and then, and held in between; at times rounded."""
    number, _ = segments(dice, dice.log_uniform(2.0, 40.0))
    path = (dice.normal(dice.length) + dice.normal() * dice.some(0.4, 0.05, 0.5)).cumsum(-1)
    return path.gather(1, number) * torch.where(dice.coin(0.3), 3.0, 1.0)


def _rare_bursts(dice: Dice) -> Tensor:
    """Errors and disk writes: almost nothing, then a burst that dies out."""
    hits = dice.coin(dice.log_uniform(0.003, 0.05), dice.length) * torch.exp(dice.normal(dice.length))
    burst = fade(hits, torch.exp(-1 / dice.log_uniform(0.3, 15.0)))
    burst = burst * (burst > 1e-3)
    return (
        burst * torch.exp(0.3 * dice.normal(dice.length)) + dice.some(0.7, 0.003, 0.1) * dice.normal(dice.length).abs()
    )


def sensors(rows: int, length: int, generator: Generator) -> Tensor:
    """Measured signals that are clipped, saturated, quantised, or drift until they are set right again."""
    dice = Dice.of(rows, length, generator)
    wave = seasons(dice, calendar(dice)) * dice.some(0.8, 0.3, 3.0)
    signal = wave + trend(dice) * dice.some(0.6, 0.3, 4.0) + memory(dice, 3.0, 100.0) * dice.some(0.7, 0.1, 1.5)
    signal = standardize(signal + noise(dice) * dice.log_uniform(0.003, 0.7))
    return dice.blend(((3, _clipped), (2, _saturated), (3, _quantised), (2, _recalibrated)), signal)


def _clipped(dice: Dice, signal: Tensor) -> Tensor:
    """A floor, a ceiling, or both."""
    low = torch.where(dice.coin(0.6), dice.uniform(-1.5, 0.2), -9.0)
    high = torch.where(dice.coin(0.5), dice.uniform(0.4, 2.0), 9.0)
    return torch.minimum(torch.maximum(signal, low), high)


def _saturated(dice: Dice, signal: Tensor) -> Tensor:
    return torch.tanh(signal * dice.log_uniform(0.7, 3.0) + dice.uniform(-1.0, 1.0))


def _quantised(dice: Dice, signal: Tensor) -> Tensor:
    grid = dice.log_uniform(0.03, 1.0)
    return (signal / grid).round() * grid


def _recalibrated(dice: Dice, signal: Tensor) -> Tensor:
    number, age = segments(dice, dice.log_uniform(40.0, dice.length))
    return signal + age * per_segment(dice.normal(64), number) * dice.log_uniform(0.002, 0.05)
