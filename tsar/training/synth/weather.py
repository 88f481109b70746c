"""Families of weather and what it drives: temperature, rain, rivers, sun and wind power."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from tsar.training.synth.dice import Dice, standardize
from tsar.training.synth.filters import fade, memory, wander
from tsar.training.synth.noise import noise

RATES = (24.0, 1.0, 8.0, 48.0, 144.0)
"""Values a day of weather."""

RATE_WEIGHTS = (10.0, 8.0, 1.0, 1.5, 1.5)


def temperature(rows: int, length: int, generator: Generator) -> Tensor:
    """Temperature and its kin (pressure, humidity): year, day, weather fronts; by the day, the hour or finer."""
    dice = Dice.of(rows, length, generator)
    per_day = dice.pick(RATES, RATE_WEIGHTS)
    days = dice.time / per_day
    year = 2 * math.pi * (days / 365.25 + dice.uniform())
    warm = -torch.cos(year) * dice.log_uniform(1.0, 15.0)
    fronts = wander(dice, per_day * dice.log_uniform(1.5, 6.0)) * dice.log_uniform(0.7, 5.0)
    clear = torch.sigmoid(1.5 * wander(dice, per_day * dice.log_uniform(1.0, 4.0)))
    hour = 2 * math.pi * (days + dice.uniform())
    daily = torch.sin(hour + 0.5 * torch.sin(hour)) * (1 + 0.4 * torch.cos(year + 1)) * clear
    daily = daily * dice.log_uniform(0.3, 7.0) * (per_day > 1)
    lasting = memory(dice, 1.0, 12.0) * dice.log_uniform(0.1, 3.0)
    total = warm + fronts + daily + lasting + dice.normal(length) * dice.log_uniform(0.02, 0.8)
    return dice.blend(((6, _rounded_degrees), (1.5, _moist), (1, _fronts_only)), total, fronts + lasting)


def _rounded_degrees(dice: Dice, total: Tensor, fronts: Tensor) -> Tensor:
    return torch.where(dice.coin(0.6), (total * 10).round() / 10, total)


def _moist(dice: Dice, total: Tensor, fronts: Tensor) -> Tensor:
    """Relative humidity: against temperature, at most 100."""
    dry = standardize(total) * dice.uniform(5.0, 20.0)
    return (dice.uniform(50.0, 95.0) - dry + 5 * fronts / (1 + fronts.abs())).clamp(3.0, 100.0).round()


def _fronts_only(dice: Dice, total: Tensor, fronts: Tensor) -> Tensor:
    """Air pressure."""
    return 1013 + 3 * fronts


def rain(rows: int, length: int, generator: Generator) -> Tensor:
    """Rain: zeros, then skewed amounts, in spells that follow the year; by the hour, the day or the month."""
    dice = Dice.of(rows, length, generator)
    per_year = dice.pick((8766.0, 365.25, 52.18, 12.0), (3, 5, 1, 1))
    return rainfall(dice, per_year)


def rainfall(dice: Dice, per_year: Tensor) -> Tensor:
    """Amounts of rain, (rows, length), at least 0."""
    year = torch.cos(2 * math.pi * (dice.time / per_year + dice.uniform())) * dice.uniform(0.0, 1.2)
    spell = memory(dice, 0.4, 8.0) + 0.5 * wander(dice, per_year / 20) + year
    wet = torch.relu(spell - dice.uniform(-0.8, 1.4))
    amount = torch.exp(dice.uniform(0.2, 1.0) * dice.normal(dice.length))
    total = torch.exp(torch.log(wet.clamp_min(1e-4)) * dice.uniform(1.0, 2.2)) * amount * (wet > 0)
    return torch.where(dice.coin(0.7), (total * 20).round() / 20, total)


def river(rows: int, length: int, generator: Generator) -> Tensor:
    """River flow, levels and soil moisture: rain through a quick and a slow store, snow melt once a year."""
    dice = Dice.of(rows, length, generator)
    per_year = dice.pick((365.25, 365.25, 8766.0, 52.18))
    supply = rainfall(dice, per_year)
    turn = (dice.time / per_year + dice.uniform()).frac() - dice.uniform(0.3, 0.6)
    melt = torch.exp(-0.5 * (turn / dice.uniform(0.03, 0.12)) ** 2) * dice.some(0.4, 0.3, 4.0)
    supply = (supply + melt * torch.exp(0.4 * memory(dice, 2.0, 20.0))) * torch.exp(0.4 * wander(dice, per_year))
    quick = fade(supply, torch.exp(-1 / dice.log_uniform(0.5, 10.0)))
    slow = fade(supply, torch.exp(-1 / dice.log_uniform(15.0, 200.0))) * dice.log_uniform(0.01, 0.3)
    rise = 1 - torch.exp(-1 / dice.log_uniform(0.4, 3.0))
    flow = fade((quick + slow) * rise, 1 - rise).clamp_min(0.0) + dice.log_uniform(0.01, 0.5)
    flow = torch.exp(torch.log(flow) * dice.uniform(0.5, 1.4))
    return flow * torch.exp(dice.normal(length) * dice.log_uniform(0.002, 0.08))


def sun(rows: int, length: int, generator: Generator) -> Tensor:
    """Solar power and radiation: zero at night, days that lengthen and shorten, clouds that last for hours and days."""
    dice = Dice.of(rows, length, generator)
    per_day = dice.pick((24.0, 48.0, 96.0, 144.0), (6, 2, 1.5, 1))
    days = dice.time / per_day + dice.uniform(0.0, 365.0)
    latitude = dice.uniform(0.0, 1.0)  # radians
    tilt = 0.409 * torch.sin(2 * math.pi * days / 365.25)
    hour = 2 * math.pi * (days - 0.5 + dice.uniform(-0.1, 0.1))
    height = torch.sin(latitude) * torch.sin(tilt) + torch.cos(latitude) * torch.cos(tilt) * torch.cos(hour)
    clear = torch.exp(torch.log(height.clamp_min(1e-3)) * dice.uniform(0.9, 1.6)) * (height > 1e-3)
    gloom = dice.uniform(-2.0, 3.0) + dice.uniform(0.3, 3.0) * wander(dice, per_day * dice.log_uniform(0.6, 3.0))
    flicker = memory(dice, 0.5, 8.0) * dice.log_uniform(0.03, 1.0)
    power = clear * (0.08 + 0.92 * torch.sigmoid(gloom + flicker))
    return dice.blend(((5, _as_measured), (3, _inverter)), power, clear)


def _as_measured(dice: Dice, power: Tensor, clear: Tensor) -> Tensor:
    return torch.where(dice.coin(0.3), (power * 200).round() / 200, power)


def _inverter(dice: Dice, power: Tensor, clear: Tensor) -> Tensor:
    """A plant: clipped at its inverter, and consuming a little at night."""
    top = clear.amax(-1, keepdim=True) * dice.uniform(0.55, 1.1)
    return torch.minimum(power, top) - top * dice.some(0.3, 0.002, 0.03) * (clear <= 0)


def wind(rows: int, length: int, generator: Generator) -> Tensor:
    """Wind speed, and wind power between zero and the capacity."""
    dice = Dice.of(rows, length, generator)
    per_day = dice.pick((24.0, 48.0, 96.0, 144.0, 1.0), (6, 1, 1, 1, 3))
    days = dice.time / per_day
    rhythm = torch.sin(2 * math.pi * (days + dice.uniform())) * dice.some(0.6, 0.1, 0.7) * (per_day > 1)
    season = torch.sin(2 * math.pi * (days / 365.25 + dice.uniform())) * dice.uniform(0.0, 0.6)
    state = wander(dice, per_day * dice.log_uniform(0.5, 3.0)) + memory(dice, 0.7, 10.0) * dice.log_uniform(0.1, 1.0)
    speed = (dice.uniform(5.0, 9.0) + 3 * (state + rhythm + season) + 0.4 * noise(dice)).abs()
    return dice.blend(((4, _wind_speed), (6, _turbine)), speed)


def _wind_speed(dice: Dice, speed: Tensor) -> Tensor:
    return torch.where(dice.coin(0.5), (speed * 10).round() / 10, speed)


def _turbine(dice: Dice, speed: Tensor) -> Tensor:
    """Power rises with the cube of the speed up to the capacity; now and then a plant stands still."""
    share = ((speed - 3) / dice.uniform(6.0, 11.0)).clamp(0.0, 1.2)
    power = torch.exp(torch.log(share.clamp_min(1e-4)) * dice.uniform(1.5, 3.0)) * (share > 0)
    stops = memory(dice, 5.0, 80.0) > dice.uniform(2.0, 4.0)
    return power.clamp_max(1.0) * ~stops
