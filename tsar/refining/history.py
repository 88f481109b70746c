"""Distribution -> distribution: what a look at the whole history adds to the forecast from one window.

A coarse view for seasons too long for the context, and bounds. Each works on the panel's flat arrays, for all series at
once.
"""

from __future__ import annotations

import numpy as np

from tsar.refining.powers import multiply_by_powers
from tsar.types import FloatArray, IntArray

SEASONS_IN_CONTEXT = 8
"""With fewer seasons than this in the context, a coarse view pays."""

COARSE_SEASON = 24
"""Steps of a season that the coarse view keeps at least."""

COARSE_WEIGHT = 0.5
"""How far the level follows the coarse view; see pretrain/LOG.md for what other weights gave."""


def coarse_rate(season_length: int, context_length: int) -> int:
    """Number of steps to average into one, 1 for none, so that more seasons fit into the context."""
    if season_length * SEASONS_IN_CONTEXT <= context_length:
        return 1
    rates = [rate for rate in range(1, season_length // COARSE_SEASON + 1) if season_length % rate == 0]
    return max(rates, default=1)


def downsample(
    values: FloatArray, offsets: IntArray, rate: int, *, longer_than: int = 0, at_least: int = 1
) -> tuple[FloatArray, IntArray]:
    """Average runs of `rate` points of every series, counted from its end; a shorter rest at its beginning is dropped.

    Parameters
    ----------
    values, offsets
        Series end to end (N,), NaN where missing, and where each starts (I + 1,).
    rate
        Points in a run. A run without an observed value is missing, others are the mean of what was observed.
    longer_than
        Only series of more points than this are taken; the others are empty in the result.
    at_least
        Series that give fewer runs than this are left empty as well.

    Returns
    -------
    values, offsets
        The coarse panel.
    """
    lengths = np.diff(offsets)
    counts = np.where(lengths > longer_than, lengths // min(rate, int(lengths.max(initial=0)) + 1), 0)
    counts = np.where(counts >= at_least, counts, 0)
    coarse = np.concatenate([[0], np.cumsum(counts)])
    if not coarse[-1]:  # no series is that long, whatever the rate
        return np.empty(0), coarse
    item = np.repeat(np.arange(len(counts)), counts)
    first = offsets[item + 1] - rate * (coarse[item + 1] - np.arange(coarse[-1]))
    runs = values[first[:, None] + np.arange(rate)]
    observed = np.isfinite(runs)
    number = observed.sum(1)
    share = 1.0 / np.maximum(number, 1)
    mean = np.where(observed, runs * share[:, None], 0.0).sum(1)
    return np.where(number > 0, mean, np.nan), coarse


def follow_coarse(quantiles: FloatArray, coarse: FloatArray, rate: int, weight: float = COARSE_WEIGHT) -> FloatArray:
    """Move the quantiles (I, F, Q) toward the level of the coarse forecast; their spread and fine shape stay.

    Parameters
    ----------
    quantiles
        Forecast at the data's own rate.
    coarse
        (I, ceil(F / rate), Q) forecast of the downsampled series. Where it is NaN nothing is moved.
    rate
        Fine steps in a coarse one.
    weight
        1 takes the level from the coarse forecast alone.
    """
    items, horizon, num_levels = quantiles.shape
    runs, middle = coarse.shape[1], num_levels // 2
    largest = np.fmax(np.abs(quantiles).max((1, 2), initial=0.0), np.abs(coarse).max((1, 2), initial=0.0))
    exponent = np.frexp(np.nan_to_num(largest))[1][:, None, None] + 2  # of a power of two, so that no sum overflows
    quantiles, coarse = np.ldexp(quantiles, -exponent), np.ldexp(coarse, -exponent)
    padded = np.concatenate([quantiles[..., middle], np.repeat(quantiles[:, -1:, middle], runs * rate - horizon, 1)], 1)
    shift = coarse[..., middle] - padded.reshape(items, runs, rate).mean(-1)
    place = np.clip((np.arange(horizon) - (rate - 1) / 2) / rate, 0, runs - 1)  # in coarse steps, from middle to middle
    left = np.minimum(place.astype(int), max(runs - 2, 0))
    right = np.minimum(left + 1, runs - 1)
    smooth = shift[:, left] + (place - left) * (shift[:, right] - shift[:, left])
    moved = quantiles + weight * np.nan_to_num(smooth)[..., None]
    return multiply_by_powers(moved, exponent)


def lower_bound(values: FloatArray, offsets: IntArray, non_negative: bool | str) -> FloatArray | None:
    """Lower bound (I,) of the forecasts of each series, as the option `non_negative` asks for it; None: no bound."""
    if isinstance(non_negative, str):
        return zero_bound(values, offsets)
    return np.zeros(len(offsets) - 1) if non_negative else None


def zero_bound(values: FloatArray, offsets: IntArray) -> FloatArray:
    """Lower bound (I,) of each series: 0 if it was never negative, -inf otherwise or without an observed value."""
    bounds = np.full(len(offsets) - 1, -np.inf)
    filled = offsets[1:] > offsets[:-1]
    if filled.any():
        starts = offsets[:-1][filled]
        bounds[filled] = np.where(np.fmin.reduceat(values, starts) >= 0, 0.0, -np.inf)
    return bounds
