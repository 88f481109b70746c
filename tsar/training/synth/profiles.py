"""Families with a daily rhythm: load, traffic, shops, by the hour or finer, with other weekends and days off."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from tsar.training.synth.dice import Dice, bounded
from tsar.training.synth.filters import memory, wander
from tsar.training.synth.noise import noise
from tsar.training.synth.seasonal import TABLE, harmonics, smooth_form

PER_DAY = (24.0, 48.0, 96.0, 144.0, 288.0)
PER_DAY_WEIGHTS = (11.0, 3.0, 2.5, 1.0, 1.5)
DAYS = 512


def daily_weekly(rows: int, length: int, generator: Generator) -> Tensor:
    """Daily profiles that are others on weekends and days off, on a level that drifts over days and the year."""
    dice = Dice.of(rows, length, generator)
    per_day = dice.pick(PER_DAY, PER_DAY_WEIGHTS)
    time = dice.time + (dice.uniform() * 7 * per_day).floor() + 0.5
    day = (time / per_day).long()
    hour = time / per_day - day
    load = day_profiles(dice, hour, day % 7, is_day_off(dice, day))
    load = load * day_factors(dice, day, per_day)
    return dice.blend(((45, _noisy), (20, _inert), (10, _closed), (10, _counted), (15, _occupied)), load, hour, per_day)


def day_profiles(dice: Dice, hour: Tensor, weekday: Tensor, off: Tensor) -> Tensor:
    """Height at the hour (in days, [0, 1)) of working days, or of weekends and days off; positive."""
    work, other = day_profile(dice.times(2)).chunk(2)
    rest = torch.lerp(work, other, dice.uniform() * dice.coin(0.7)) * dice.uniform(0.3, 1.2)
    third = torch.where(dice.coin(0.5), rest * dice.uniform(0.6, 1.1), rest)  # Sundays
    table = torch.cat([work, rest, third], 1)
    first_free = torch.where(dice.coin(0.85), 5, 7)  # some places know no weekend
    kind = (weekday >= first_free).long() + ((weekday == 6) & (first_free < 7)).long()
    kind = torch.where(off, 2, kind)
    place = (hour * TABLE).long().clamp(0, TABLE - 1)
    floor = dice.uniform(0.0, 1.0) * dice.coin(0.8)
    return floor + table.gather(1, place + kind * TABLE)


def day_profile(dice: Dice) -> Tensor:
    """Shapes of a day from midnight, (rows, TABLE), from 0 to about 1."""
    shape = dice.blend(((3, _bumps), (2, _working_hours), (1.5, _free_shape)))
    low = shape.amin(-1, keepdim=True)
    return (shape - low) / (shape.amax(-1, keepdim=True) - low + 1e-6)


def _bumps(dice: Dice) -> Tensor:
    """Up to three peaks, mostly in the morning, at noon and in the evening: load and traffic."""
    hours = torch.arange(TABLE, device=dice.device) / TABLE
    total = torch.zeros(dice.rows, TABLE, device=dice.device)
    for centre, probability in ((0.34, 0.85), (0.53, 0.6), (0.77, 0.9)):
        ahead = (hours - centre - 0.04 * dice.normal() + 0.5).remainder(1.0) - 0.5
        width = dice.log_uniform(0.015, 0.14) * torch.where(ahead > 0, dice.log_uniform(0.5, 2.0), 1.0)
        total = total + dice.uniform(0.2, 1.0) * dice.coin(probability) * torch.exp(-0.5 * (ahead / width) ** 2)
    night = 0.3 * torch.cos(2 * torch.pi * (hours - dice.uniform(0.45, 0.7)))
    return total + night * dice.uniform()


def _working_hours(dice: Dice) -> Tensor:
    """Up in the morning, level, down in the evening."""
    hours = torch.arange(TABLE, device=dice.device) / TABLE
    pace = dice.log_uniform(15.0, 200.0)
    rise = torch.sigmoid((hours - dice.uniform(0.2, 0.42)) * pace)
    fall = torch.sigmoid((dice.uniform(0.6, 0.95) - hours) * pace * dice.log_uniform(0.5, 2.0))
    return rise * fall * (1 + dice.uniform(-0.5, 0.5) * (hours - 0.5))


def _free_shape(dice: Dice) -> Tensor:
    period = dice.pick((24.0, 48.0))
    return dice.blend(((1, harmonics), (1, smooth_form)), period)


def is_day_off(dice: Dice, day: Tensor) -> Tensor:
    """Single days off, and now and then two or three in a row, for half of the rows; bool."""
    rate = dice.some(0.6, 0.005, 0.05)
    off = dice.coin(rate, DAYS)
    off = off | (off.roll(1, 1) & dice.coin(0.3, DAYS))
    return off.gather(1, day % DAYS)


def day_factors(dice: Dice, day: Tensor, per_day: Tensor) -> Tensor:
    """Factor of each day: of the weekday, of the day itself, and of a level that wanders over days to months."""
    weekday = (1 + 0.12 * dice.normal(7) * dice.coin(0.7)).gather(1, day % 7)
    single = torch.exp(dice.some(0.7, 0.01, 0.2) * dice.normal(DAYS)).gather(1, day % DAYS)
    slow = wander(dice, per_day * dice.log_uniform(1.5, 60.0)) * dice.some(0.8, 0.02, 0.4)
    growth = (dice.time / dice.length) * dice.normal() * dice.some(0.3, 0.05, 1.0)
    return weekday.clamp_min(0.2) * single * torch.exp(slow + growth)


def _noisy(dice: Dice, load: Tensor, hour: Tensor, per_day: Tensor) -> Tensor:
    """Noise in proportion, or of one size."""
    error = noise(dice, per_day) * dice.log_uniform(0.005, 0.4)
    size = load.mean(-1, keepdim=True)
    return torch.where(dice.coin(0.6), load * torch.exp(bounded(error, 2.0)), load + error * size)


def _inert(dice: Dice, load: Tensor, hour: Tensor, per_day: Tensor) -> Tensor:
    """Errors that last for hours, as the weather's do in load."""
    lasting = memory(dice, 2.0, 60.0) * dice.log_uniform(0.01, 0.25)
    return load * torch.exp(lasting + dice.normal(dice.length) * dice.log_uniform(0.002, 0.05))


def _closed(dice: Dice, load: Tensor, hour: Tensor, per_day: Tensor) -> Tensor:
    """Nothing, or a constant, outside the opening hours."""
    is_open = (hour > dice.uniform(0.2, 0.42)) & (hour < dice.uniform(0.6, 0.98))
    floor = load.mean(-1, keepdim=True) * dice.some(0.5, 0.02, 0.3)
    error = torch.exp(bounded(noise(dice, per_day) * dice.log_uniform(0.02, 0.4), 2.0))
    return torch.where(is_open, load * error, floor)


def _counted(dice: Dice, load: Tensor, hour: Tensor, per_day: Tensor) -> Tensor:
    """Whole numbers: vehicles, calls, trips, visitors."""
    rate = load / load.mean(-1, keepdim=True).clamp_min(1e-6) * dice.log_uniform(0.5, 300.0)
    rate = rate * torch.exp(dice.normal(dice.length) * dice.some(0.5, 0.05, 0.4))
    return (rate + rate.sqrt() * dice.normal(dice.length)).round().clamp_min(0.0)


def _occupied(dice: Dice, load: Tensor, hour: Tensor, per_day: Tensor) -> Tensor:
    """Shares between 0 and 1 that peak sharply: road and room occupancy, congestion; or speeds that drop by them."""
    share = (load / load.amax(-1, keepdim=True)).clamp_min(1e-4)
    share = torch.exp(torch.log(share) * dice.log_uniform(0.7, 4.0)) * dice.uniform(0.1, 1.0)
    error = noise(dice, per_day)
    share = share * torch.exp(bounded(error * dice.log_uniform(0.03, 0.4), 2.0))
    jams = torch.relu(memory(dice, 2.0, 12.0) - 1.5) * share * dice.some(0.5, 0.2, 1.5)
    share = (share + jams).clamp(0.0, 1.0)
    return torch.where(dice.coin(0.3), 1 - share + 0.03 * error, share)
