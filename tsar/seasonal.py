"""Follow a period that the model cannot: profiles longer than its patches, cycles of which its context holds two.

The period is read off the autocorrelation of a history much longer than the context, and the last cycles, brought to
the level of the newest one, are averaged. Model and cycles are both scored on the end of the series' own past; the
forecast moves to the cycles only where they clearly win there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from tsar.tokenizers.period import find_period
from tsar.types import BoolArray, FloatArray, IntArray
from tsar.windows import make_batches

Decode = Callable[[FloatArray, IntArray, int], FloatArray]

LONGEST = 4096  # points of history that the period is read off: ten of 400
CYCLES = (1, 2, 4, 8)  # how many of the last are averaged; the backtest chooses
LEAST_STRENGTH = 0.5  # of the autocorrelation at the period
LEAST_SKILL = 0.4  # of the cycles over their own mean, in the backtest; below, the model is not even asked
CLEAR = 0.75  # error of the cycles, as a share of the model's, from which they are followed
SHORTEST_TEST, LONGEST_TEST = 48, 256  # points held back for the backtest, and no more than a quarter of the history
LARGEST = np.finfo(np.float64).max
NARROWEST = 0.1  # of the model's spread
PATCH = 64
POINTS_AT_ONCE = 1 << 20


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
    One backtest of at most 256 steps, only for series whose cycles repeat; others cost a Fourier transform.
    """
    exponents = _exponents(values, offsets)  # powers of two: the largest and smallest numbers do as others do
    scaled = np.ldexp(values, -np.repeat(exponents, np.diff(offsets)))
    moved = quantiles.copy()
    for batch in make_batches(
        scaled, offsets, context_length=LONGEST, patch_length=PATCH, points_per_batch=POINTS_AT_ONCE
    ):
        found = _find_cycles(batch.context)
        if not len(found.rows):
            continue
        model_error = _model_errors(batch.context[found.rows], found, decode, quantiles.shape[2] // 2)
        wins = np.isfinite(model_error) & (found.error < CLEAR * model_error)
        if wins.any():
            found = found.at(wins)
            items = batch.rows[found.rows]
            cycles = _continue(batch.context[found.rows], found.periods, quantiles.shape[1])
            chosen = cycles[found.chosen, np.arange(len(items))]
            unit = exponents[items, None, None]
            near = _move(np.ldexp(quantiles[items], -unit), chosen, found.error, model_error[wins])
            with np.errstate(over="ignore", under="ignore"):  # beyond the largest number there is no quantile
                moved[items] = np.clip(np.ldexp(near, unit), -LARGEST, LARGEST)
    return moved


def _exponents(values: FloatArray, offsets: IntArray) -> IntArray:
    """Power of two (I,) above the largest absolute value of each series."""
    sizes = np.zeros(len(offsets) - 1)
    filled = offsets[1:] > offsets[:-1]
    if filled.any():
        sizes[filled] = np.maximum.reduceat(np.abs(np.nan_to_num(values)), offsets[:-1][filled])
    return np.frexp(sizes)[1].astype(np.int64)


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
    """Windows whose cycles repeat: (R,) which, their period, points held back, cycles chosen, backtest error."""

    rows: IntArray
    periods: FloatArray
    held_back: IntArray
    ends: list[FloatArray]
    chosen: IntArray
    error: FloatArray

    def at(self, wanted: BoolArray) -> _Found:
        """Those wanted."""
        ends = [end for end, is_wanted in zip(self.ends, wanted, strict=True) if is_wanted]
        return _Found(
            self.rows[wanted], self.periods[wanted], self.held_back[wanted], ends, self.chosen[wanted],
            self.error[wanted],
        )  # fmt: skip


def _find_cycles(context: FloatArray) -> _Found:
    """Find the period of every window (B, L) without its end, and score the cycles on the end."""
    observed = np.isfinite(context)
    lengths = context.shape[1] - observed.argmax(1)
    held_back = np.clip(lengths // 4, 1, SHORTEST_TEST)
    before = np.arange(context.shape[1]) < (context.shape[1] - held_back)[:, None]
    period = find_period(torch.from_numpy(context), torch.from_numpy(observed & before))
    periods, strength = period.length.double().numpy(), period.strength.numpy()
    rows = np.flatnonzero((periods > 0) & (strength > LEAST_STRENGTH))
    periods = periods[rows]
    held_back = np.clip(np.ceil(periods), held_back[rows], LONGEST_TEST).astype(np.int64)
    held_back = np.minimum(held_back, lengths[rows] // 4)
    kept, chosen, errors, ends = [], [], [], []
    for place, (row, held) in enumerate(zip(rows, held_back, strict=True)):
        past, end = context[row, : context.shape[1] - held], context[row, context.shape[1] - held :]
        guesses = _continue(past[None], periods[place : place + 1], int(held))[:, 0]
        error = np.array([_error(guess, end) for guess in guesses])
        best = int(error.argmin())
        if error[best] <= (1 - LEAST_SKILL) * _error(np.full(held, np.nanmean(guesses[best])), end):
            kept.append(place)
            chosen.append(best)
            errors.append(error[best])
            ends.append(end)
    index = np.array(kept, dtype=np.int64)
    return _Found(
        rows[index], periods[index], held_back[index], ends, np.array(chosen, dtype=np.int64), np.array(errors)
    )


def _model_errors(context: FloatArray, found: _Found, decode: Decode, middle: int) -> FloatArray:
    """Error (R,) of the model's median on the ends of the windows found."""
    pasts = [row[: len(row) - held] for row, held in zip(context, found.held_back, strict=True)]
    starts = np.concatenate([[0], np.cumsum([len(past) for past in pasts])])
    guesses = decode(np.concatenate(pasts), starts, int(found.held_back.max()))[..., middle]
    return np.array([_error(guess[: len(end)], end) for guess, end in zip(guesses, found.ends, strict=True)])


def _continue(context: FloatArray, periods: FloatArray, horizon: int) -> FloatArray:
    """Forecasts (K, B, F) of windows (B, L) by the mean of the last 1, 2, 4, 8 cycles, at the level of the last one.

    A period need not be whole; cycles with missing values count where they are observed.
    """
    length = context.shape[1]
    step = np.arange(horizon)
    first = np.floor(step / periods[:, None]) + 1
    total = np.zeros((len(context), horizon))
    count = np.zeros_like(total)
    result, latest = [], None
    for cycle in range(CYCLES[-1]):
        level, is_whole = _level(context, periods, cycle)
        latest = level if latest is None else latest
        place = length + step - np.round((first + cycle) * periods[:, None]).astype(np.int64)
        inside = (place >= 0) & is_whole[:, None]
        value = np.take_along_axis(context, np.clip(place, 0, length - 1), 1) - (level - latest)[:, None]
        seen = inside & np.isfinite(value)
        total += np.where(seen, value, 0.0)
        count += seen
        if cycle + 1 in CYCLES:
            result.append(np.where(count > 0, total / np.maximum(count, 1), np.nan))
    return np.stack(result)


def _level(context: FloatArray, periods: FloatArray, cycle: int) -> tuple[FloatArray, BoolArray]:
    """Mean (B,) over a cycle, counted from the end, and whether the window holds anything of it."""
    back = context.shape[1] - np.arange(context.shape[1])
    low, high = np.round(cycle * periods)[:, None], np.round((cycle + 1) * periods)[:, None]
    seen = (back > low) & (back <= high) & np.isfinite(context)
    number = seen.sum(1)
    return np.where(seen, context, 0.0).sum(1) / np.maximum(number, 1), number > 0


def _error(guess: FloatArray, actual: FloatArray) -> float:
    """Mean absolute error where both are known; infinite where nothing is."""
    missed = np.abs(guess - actual)
    known = np.isfinite(missed)
    return float(missed[known].mean()) if known.any() else np.inf
