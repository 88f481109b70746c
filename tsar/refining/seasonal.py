"""Follow a period that the model cannot: profiles longer than its patches, cycles of which its context holds two.

The period is read off the autocorrelation of a history much longer than the context, and the last cycles, brought to
the level of the newest one, are averaged. Model and cycles are both scored on the end of the series' own past; the
forecast moves to the cycles only where they clearly win there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from tsar.refining.powers import exponents_of, multiply_by_powers
from tsar.tokenizers.period import find_period
from tsar.types import BoolArray, Decode, FloatArray, IntArray
from tsar.windows import make_batches

LONGEST = 4096  # points of history that the period is read off: ten of 400
CYCLES = (1, 2, 4, 8)  # how many of the last are averaged; the backtest chooses
LEAST_STRENGTH = 0.5  # of the autocorrelation at the period
LEAST_SKILL = 0.4  # of the cycles over their own mean, in the backtest; below, the model is not even asked
LEAST_SKILL_OF_USUAL = 0.8  # for the periods that the model follows well by itself, so that asking it rarely pays
USUAL = (16, 64)
FOLDS = 2  # backtests, one after the other; the cycles must win each
CLEAR = 0.75  # error of the cycles, as a share of the model's, from which they are followed
SHORTEST_TEST, LONGEST_TEST = 48, 256
"""Points held back for each backtest, and no more than a quarter of the history."""

NARROWEST = 0.1  # of the model's spread
PATCH = 64
POINTS_AT_ONCE = 1 << 20
ROWS_AT_ONCE = 256


def follow_period(quantiles: FloatArray, values: FloatArray, offsets: IntArray, decode: Decode) -> FloatArray:
    """Move the quantiles (I, F, Q) toward what the last cycles say, where that forecast the end of the past better.

    Parameters
    ----------
    quantiles
        Forecast of the model.
    values, offsets
        The panel: series end to end (N,), NaN where missing, and where each starts (I + 1,).
    decode
        Forecasts another panel with the model, (I, F, Q), from values, offsets and a horizon.

    Returns
    -------
    ndarray
        (I, F, Q). The median is the mean of model and cycles, weighted by the inverse squared errors of the backtest;
        the distances of the others to it shrink as the error does. Series without a clear period are as they were.

    Notes
    -----
    Two backtests of at most 416 steps, only for series whose cycles repeat; others cost a Fourier transform.
    """
    exponents = exponents_of(values, offsets)
    scaled = np.ldexp(values, -np.repeat(exponents, np.diff(offsets)))
    moved = quantiles.copy()
    for batch in make_batches(
        scaled, offsets, context_length=LONGEST, patch_length=PATCH, points_per_batch=POINTS_AT_ONCE
    ):
        found, model_error = _find_cycles(batch.context), np.empty((0, 0))
        for fold in range(FOLDS):
            if len(found.rows):
                new = _model_error(batch.context[found.rows], found.held_back, fold, decode, quantiles.shape[2] // 2)
                wins = np.isfinite(new) & (found.errors[:, fold] < CLEAR * new)
                model_error = np.column_stack([model_error[wins], new[wins]]) if fold else new[wins, None]
                found = found.at(wins)
        if len(found.rows):
            items = batch.rows[found.rows]
            cycles = _continue(batch.context[found.rows], found.periods, quantiles.shape[1])
            chosen = cycles[found.chosen, np.arange(len(items))]
            unit = exponents[items, None, None]
            near = _move(np.ldexp(quantiles[items], -unit), chosen, found.errors.mean(1), model_error.mean(1))
            moved[items] = multiply_by_powers(near, unit)
    return moved


def _move(quantiles: FloatArray, cycles: FloatArray, cycle_error: FloatArray, model_error: FloatArray) -> FloatArray:
    """Quantiles (W, F, Q) moved toward the cycles (W, F), where they are known, by errors (W,) in the backtest."""
    middle = quantiles.shape[2] // 2
    median = quantiles[..., middle]
    ratio = (cycle_error / model_error)[:, None]
    weight = 1 / (1 + ratio**2)
    known = np.isfinite(cycles)
    target = np.where(known, median + weight * (cycles - median), median)
    spread = np.where(known, np.maximum(weight * ratio + 1 - weight, NARROWEST), 1.0)
    return target[..., None] + spread[..., None] * (quantiles - median[..., None])


@dataclass(frozen=True, eq=False)
class _Found:
    """Windows whose cycles repeat: (R,) which, their period, points of a backtest, cycles chosen; errors (R, folds)."""

    rows: IntArray
    periods: FloatArray
    held_back: IntArray
    chosen: IntArray
    errors: FloatArray

    def at(self, wanted: BoolArray) -> _Found:
        """Those wanted."""
        return _Found(
            self.rows[wanted], self.periods[wanted], self.held_back[wanted], self.chosen[wanted], self.errors[wanted]
        )


def _find_cycles(context: FloatArray) -> _Found:
    """Find the period of every window (B, L), without its end, and score the cycles on its ends."""
    observed = np.isfinite(context)
    lengths = context.shape[1] - observed.argmax(1)
    newest = np.clip(lengths // 4, 1, SHORTEST_TEST)
    before = np.arange(context.shape[1]) < (context.shape[1] - newest)[:, None]
    period = find_period(torch.from_numpy(context), torch.from_numpy(observed & before))
    periods, strength = period.length.double().numpy(), period.strength.numpy()
    rows = np.flatnonzero((periods > 0) & (strength > LEAST_STRENGTH))
    held_back = np.clip(np.ceil(periods[rows]), newest[rows], LONGEST_TEST).astype(np.int64)
    held_back = np.minimum(held_back, lengths[rows] // 4)
    chosen, errors = np.zeros(len(rows), dtype=np.int64), np.full((len(rows), FOLDS), np.inf)
    for held in np.unique(held_back[held_back > 0]):
        same = np.flatnonzero(held_back == held)
        for part in np.split(same, range(ROWS_AT_ONCE, len(same), ROWS_AT_ONCE)):
            chosen[part], errors[part] = _score_cycles(context[rows[part]], periods[rows[part]], int(held))
    found = _Found(rows, periods[rows], held_back, chosen, errors)
    return found.at(np.isfinite(errors).all(1))


def _score_cycles(series: FloatArray, periods: FloatArray, held_back: int) -> tuple[IntArray, FloatArray]:
    """Say how many cycles forecast the ends of the series (R, L) best (R,), and their error at each end (R, folds).

    The errors are infinite where the cycles have no skill.
    """
    errors, flat = [], []
    for fold in range(FOLDS):
        past, end = _split(series, held_back, fold)
        guesses = _continue(past, periods, held_back)  # (K, R, H)
        level = np.where(np.isfinite(guesses), guesses, 0.0).sum(-1) / np.maximum(np.isfinite(guesses).sum(-1), 1)
        errors.append(_error(guesses, end))
        flat.append(_error(np.broadcast_to(level[..., None], guesses.shape), end))
    all_errors, all_flat = np.stack(errors, -1), np.stack(flat, -1)  # (K, R, folds)
    best = all_errors.mean(-1).argmin(0)
    rows = np.arange(len(series))
    is_usual = (periods >= USUAL[0]) & (periods <= USUAL[1])
    least = np.where(is_usual, LEAST_SKILL_OF_USUAL, LEAST_SKILL)[:, None]
    has_skill = (all_errors[best, rows] <= (1 - least) * all_flat[best, rows]).all(1)
    return best, np.where(has_skill[:, None], all_errors[best, rows], np.inf)


def _split(series: FloatArray, held_back: int, fold: int) -> tuple[FloatArray, FloatArray]:
    """Past and what followed, along the last axis, of backtests `held_back` points apart, the newest first."""
    cut = series.shape[-1] - held_back * (fold + 1)
    return series[..., :cut], series[..., cut : cut + held_back]


def _model_error(context: FloatArray, held_back: IntArray, fold: int, decode: Decode, middle: int) -> FloatArray:
    """Error (R,) of the model's median in a backtest of the windows (R, L)."""
    split = [_split(row, int(held), fold) for row, held in zip(context, held_back, strict=True)]
    starts = np.concatenate([[0], np.cumsum([len(past) for past, _ in split])])
    guesses = decode(np.concatenate([past for past, _ in split]), starts, int(held_back.max()))[..., middle]
    return np.array([float(_error(guess[: len(end)], end)) for guess, (_, end) in zip(guesses, split, strict=True)])


def _continue(context: FloatArray, periods: FloatArray, horizon: int) -> FloatArray:
    """Forecasts (K, B, F) of windows (B, L) by the mean of the last 1, 2, 4, 8 cycles, at the level of the last one.

    A period need not be whole; cycles with missing values count where they are observed, from a half on.
    """
    length = context.shape[1]
    step = np.arange(horizon)
    first = np.floor(step / periods[:, None]) + 1
    total = np.zeros((len(context), horizon))
    count = np.zeros_like(total)
    result, latest = [], np.full(len(context), np.nan)
    seen = np.isfinite(context)
    sums = np.cumsum(np.pad(np.where(seen, context, 0.0), ((0, 0), (1, 0))), 1)  # before each point
    counts = np.cumsum(np.pad(seen, ((0, 0), (1, 0))), 1)
    for cycle in range(CYCLES[-1]):
        level, is_whole = _level(sums, counts, periods, cycle)
        latest = np.where(is_whole & np.isnan(latest), level, latest)
        place = length + step - np.round((first + cycle) * periods[:, None]).astype(np.int64)
        inside = (place >= 0) & is_whole[:, None]
        value = np.take_along_axis(context, np.clip(place, 0, length - 1), 1) - (level - latest)[:, None]
        known = inside & np.isfinite(value)
        total += np.where(known, value, 0.0)
        count += known
        if cycle + 1 in CYCLES:
            result.append(np.where(count > 0, total / np.maximum(count, 1), np.nan))
    return np.stack(result)


def _level(sums: FloatArray, counts: IntArray, periods: FloatArray, cycle: int) -> tuple[FloatArray, BoolArray]:
    """Mean (B,) over a cycle, counted from the end, and whether at least half of it is observed.

    `sums` and `counts` (B, L + 1) are those of what is observed before each point.
    """
    length = sums.shape[1] - 1
    first, end = (np.maximum(length - np.round((cycle + more) * periods), 0).astype(np.int64) for more in (1, 0))
    rows = np.arange(len(sums))
    number = counts[rows, end] - counts[rows, first]
    width = np.round((cycle + 1) * periods) - np.round(cycle * periods)
    return (sums[rows, end] - sums[rows, first]) / np.maximum(number, 1), 2 * number >= width


def _error(guess: FloatArray, actual: FloatArray) -> FloatArray:
    """Mean absolute error over the last axis, where both are known; infinite where nothing is."""
    missed = np.abs(guess - actual)
    known = np.isfinite(missed)
    number = known.sum(-1)
    mean = np.where(known, missed, 0.0).sum(-1) / np.maximum(number, 1)
    result: FloatArray = np.where(number > 0, mean, np.inf)
    return result
