"""Families that follow the calendar: sales by the day, week or month, with holidays, paydays and trading days."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from tsar.training.synth.counts import draw_counts
from tsar.training.synth.dice import Dice, bounded
from tsar.training.synth.filters import memory
from tsar.training.synth.noise import noise
from tsar.training.synth.trend import horizon, trend

MONTH_ENDS = (31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 366)
LAST_DAYS = (30, 58, 89, 119, 150, 180, 211, 242, 272, 303, 333, 364)
FOUR_YEARS = 1461
YEARS = 512
CHRISTMAS, THANKSGIVING, EASTER = 358.0, 328.0, 95.0
DATES = (CHRISTMAS, THANKSGIVING, EASTER, -1.0, -1.0)
"""Days of the year of the holidays; -1: any."""


@dataclass(frozen=True)
class Dates:
    """Where each step stands in the calendar; all (rows, length), int64.

    Attributes
    ----------
    weekday, day_of_month
        From 0; Monday is 0.
    days_left
        To the end of the month.
    day_of_year
        From 0 to 365.
    year
        From 0.
    """

    weekday: Tensor
    day_of_year: Tensor
    day_of_month: Tensor
    days_left: Tensor
    year: Tensor


def dates_of(dice: Dice, day: Tensor) -> Dates:
    """Look up days (rows, length), counted from a random Monday; a leap year has a 32nd of December."""
    day = day.long() + (dice.uniform() * (FOUR_YEARS // 7)).long() * 7
    ends = dice.constant(MONTH_ENDS)
    quarter_days = 4 * day
    day_of_year = quarter_days % FOUR_YEARS // 4
    month = torch.bucketize(day_of_year, ends, right=True)
    begin = dice.constant((0, *MONTH_ENDS))[month]
    return Dates(
        weekday=day % 7,
        day_of_year=day_of_year,
        day_of_month=day_of_year - begin,
        days_left=(dice.constant(LAST_DAYS)[month] - day_of_year).clamp_min(0),
        year=quarter_days // FOUR_YEARS,
    )


def calendar_events(rows: int, length: int, generator: Generator) -> Tensor:
    """Business quantities by the day, the week or the month, with the calendar's effects in logarithms."""
    dice = Dice.of(rows, length, generator)
    effect, is_open = dice.blend(((4, _by_day), (3, _by_week), (3.5, _by_month))).unbind(1)
    period = dice.pick((7.0, 12.0, 12.0, 30.4, 52.18, 365.25))
    level = bounded(trend(dice, horizon(dice, period)) * dice.some(0.8, 0.05, 1.2), 3.5)
    lasting = memory(dice, 1.0, 60.0) * dice.some(0.7, 0.02, 0.4)
    sales = torch.exp(level + lasting + bounded(effect, 3.5)) * is_open
    return dice.blend(((6, _with_noise), (2, _as_counts), (2, _with_promotions)), sales)


def _by_day(dice: Dice) -> Tensor:
    """Days of the week, of the month and of the year; closed on some; five-day weeks for some rows."""
    step = dice.time + (dice.uniform() * 35).floor()
    five_day_weeks = torch.where(dice.coin(0.2), (step / 5).floor() * 7 + step.remainder(5), step)
    dates = dates_of(dice, five_day_weeks)
    weekly = (dice.normal(7) * dice.log_uniform(0.03, 0.5)).gather(1, dates.weekday)
    paid = torch.exp(-dates.day_of_month / dice.log_uniform(1.0, 5.0)) * dice.normal() * dice.some(0.4, 0.1, 0.8)
    end = torch.exp(-dates.days_left / dice.log_uniform(0.5, 3.0)) * dice.normal() * dice.some(0.4, 0.1, 1.0)
    effect = weekly + paid + end + annual(dice, dates) + holidays(dice, dates, width=1.0)
    off = (dates.day_of_year == 359) | (dates.day_of_year == 0)
    closed = ((dates.weekday == 6) & dice.coin(0.15)) | (off & dice.coin(0.3))
    return torch.stack([effect, (~closed).float()], 1)


def _by_week(dice: Dice) -> Tensor:
    """Weeks with peaks of one to three weeks around holidays, which do not fall on the same week each year."""
    dates = dates_of(dice, 7 * dice.time.expand(dice.rows, -1))
    effect = annual(dice, dates) + holidays(dice, dates, width=6.0)
    return torch.stack([effect, torch.ones_like(effect)], 1)


def _by_month(dice: Dice) -> Tensor:
    """Months: a profile of twelve that drifts, trading days, Easter in March or April, December and January."""
    month = dice.time.long() + (dice.uniform() * 12).long()
    shape = dice.normal(12) * dice.log_uniform(0.02, 0.3)
    december = dice.constant((-0.5, -0.1, 0, 0, 0, 0, 0, 0, 0, 0.1, 0.4, 1.0))
    summer = dice.constant((0, 0, 0, 0, 0.1, 0.4, 1, 1.1, 0.4, 0, 0, 0))
    shape = shape + december * dice.some(0.35, 0.1, 1.2) + summer * dice.some(0.3, 0.1, 0.8) * dice.sign()
    later = shape + dice.normal(12) * dice.some(0.4, 0.02, 0.2)
    now = (dice.time / dice.length).expand(dice.rows, -1)
    profile = torch.lerp(shape.gather(1, month % 12), later.gather(1, month % 12), now)
    effect = profile + trading_days(dice, month) * dice.some(0.5, 0.005, 0.05) + _easter_month(dice, month)
    return torch.stack([effect, torch.ones_like(effect)], 1)


def annual(dice: Dice, dates: Dates) -> Tensor:
    """A smooth year in logarithms, (rows, length)."""
    turn = 2 * math.pi * dates.day_of_year / 365.25
    first, second = dice.uniform(0.0, 6.3), dice.uniform(0.0, 6.3)
    half = torch.sin(2 * turn + second) * dice.some(0.4, 0.03, 0.3)
    return torch.sin(turn + first) * dice.some(0.7, 0.03, 0.6) + half


def holidays(dice: Dice, dates: Dates, width: float) -> Tensor:
    """Effects, in logarithms, of up to five dates a year: before, on and after; some dates move from year to year."""
    many = dice.times(len(DATES))
    known = dice.constant(DATES).repeat_interleave(dice.rows)[:, None]
    date = torch.where(known < 0, many.uniform(0.0, 365.0), known)
    moves = many.normal(YEARS) * torch.where(known == EASTER, 10.0, many.some(0.25, 3.0, 12.0))
    ahead = dates.day_of_year.repeat(len(DATES), 1) - date - moves.gather(1, (dates.year % YEARS).repeat(len(DATES), 1))
    ahead = (ahead + 182.6).remainder(365.25) - 182.6
    before, after = width * many.log_uniform(0.6, 12.0), width * many.log_uniform(0.5, 3.0)
    size = many.some(0.45, 0.15, 1.5) * many.sign(0.7)
    effect = size * torch.exp(-ahead.abs() / torch.where(ahead < 0, before, after))
    return effect.view(len(DATES), dice.rows, -1).sum(0)


def trading_days(dice: Dice, month: Tensor) -> Tensor:
    """Sum over a month of the weights of its days of the week, about its mean; (rows, length)."""
    weights = dice.normal(7) - 1.5 * dice.constant((0, 0, 0, 0, 0, 1, 1)) * dice.coin(0.7)
    ends = dice.constant((0, *MONTH_ENDS))
    lengths = ends.diff()
    day = (month // 12) * FOUR_YEARS // 4 + ends[month % 12]
    reach = torch.cat([torch.zeros_like(weights[:, :1]), weights.repeat(1, 2).cumsum(-1)], 1)
    begin = (day + (dice.uniform() * 7).long()) % 7
    return reach.gather(1, begin + lengths[month % 12] - 28) - reach.gather(1, begin)


def _easter_month(dice: Dice, month: Tensor) -> Tensor:
    early = dice.coin(0.35, YEARS).gather(1, (month // 12) % YEARS)
    at_easter = torch.where(early, month % 12 == 2, month % 12 == 3)
    return at_easter * dice.normal() * dice.some(0.3, 0.03, 0.3)


def _with_noise(dice: Dice, sales: Tensor) -> Tensor:
    return sales * torch.exp(bounded(noise(dice) * dice.log_uniform(0.003, 0.3), 3.0))


def _as_counts(dice: Dice, sales: Tensor) -> Tensor:
    return draw_counts(dice, sales * dice.log_uniform(0.5, 500.0))


def _with_promotions(dice: Dice, sales: Tensor) -> Tensor:
    """Weeks of lower prices: sharp uplifts."""
    often = dice.coin(dice.log_uniform(0.02, 0.15), dice.length)
    uplift = often * torch.exp(0.5 * dice.normal(dice.length)) * dice.log_uniform(0.2, 3.0)
    quiet = torch.exp(dice.normal(dice.length) * dice.log_uniform(0.02, 0.4) + 0.2 * memory(dice, 3.0, 60.0))
    return sales * (1 + uplift) * quiet
