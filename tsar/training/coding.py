"""Series as small whole numbers: the coding behind the packed corpus.

Values become whole numbers of steps, differenced zero to two times, whichever gives the smallest numbers. Where the
values of a series lie on a grid (counts, decimals) the step is that grid and nothing is lost; else the step follows the
noise of the series, so that what is rounded off is far below what can be forecast. Equal values stay equal. Values come
back standardised, for that is how the corpus keeps them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tsar.training.shards import CLIP, standardization

FINEST_STEP, COARSEST_STEP, STEPS_PER_NOISE = 1e-3, 8e-3, 24
"""A step is the typical absolute change over the last, but between these shares of the deviation."""

MAX_CODE = 2**29
"""Largest range of codes; twice differenced ones then fit in int32."""

_CHUNK = 2**18

_FLOAT32_BLUR = 2.0**-23  # values published as float32 are off their grid by up to half of this share of their size


@dataclass(frozen=True)
class CodedSeries:
    """One series as it is stored.

    Attributes
    ----------
    order
        How often the codes were differenced.
    codes
        (N,) int32; a missing value repeats the one before.
    slope, intercept
        Standardised value = slope * (summed code) + intercept.
    missing
        (N,) bool.
    """

    order: int
    codes: NDArray[np.int32]
    slope: float
    intercept: float
    missing: NDArray[np.bool_]

    @property
    def bits(self) -> float:
        """Mean length of the codes in bits: about what they cost."""
        return _mean_bits(self.codes)


def code_series(series: NDArray[np.float64]) -> CodedSeries:
    """Return a series (N,) as codes; NaN = missing, at least one value is known."""
    missing = np.isnan(series)
    origin, step = choose_grid(series[~missing])
    codes = np.rint((_fill(series, missing) - origin) / step).astype(np.int64)
    centre = int(np.median(codes))
    codes -= centre
    candidates = [codes, np.diff(codes, prepend=0), np.diff(codes, n=2, prepend=[0, 0])]
    order = int(np.argmin([_mean_bits(one) for one in candidates]))
    loc, scale = standardization(series)
    intercept = (origin + centre * step - loc) / scale
    return CodedSeries(order, candidates[order].astype(np.int32), step / scale, intercept, missing)


def decode(
    codes: NDArray[np.int32],
    lengths: NDArray[np.int64],
    orders: NDArray[np.integer],
    slopes: NDArray[np.float64],
    intercepts: NDArray[np.float64],
    missing: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """Return the standardised values of many series at once.

    Parameters
    ----------
    codes, missing
        (N,) of the series end to end.
    lengths, orders, slopes, intercepts
        (S,) of each series.

    Returns
    -------
    ndarray
        (N,) float32 within ±`CLIP`; NaN = missing.
    """
    out = np.empty(len(codes), dtype=np.float32)
    ends = np.cumsum(lengths)
    first = 0
    while first < len(lengths):  # a few series at a time, so that the work stays in the cache
        start = int(ends[first] - lengths[first])
        last = max(first + 1, int(np.searchsorted(ends, start + _CHUNK, side="right")))
        some, points = slice(first, last), slice(start, int(ends[last - 1]))
        out[points] = _decode_some(codes[points], lengths[some], orders[some], slopes[some], intercepts[some])
        first = last
    out[missing] = np.nan
    return out


def choose_grid(known: NDArray[np.float64]) -> tuple[float, float]:
    """Return origin and step of the codes for the known values of a series.

    The series' own grid is taken unless it is finer than half the step that the noise allows.
    """
    levels = np.unique(known)
    span = float(levels[-1] - levels[0])
    if span == 0:
        return float(levels[0]), 1.0
    changes = np.abs(np.diff(known))
    noise = float(np.median(changes[changes > 0]))
    deviation = float(known.std())
    step = max(min(max(noise / STEPS_PER_NOISE, FINEST_STEP * deviation), COARSEST_STEP * deviation), span / MAX_CODE)
    own = _own_step(levels, at_least=max(step / 2, span / MAX_CODE))
    return (float(levels[0]), own) if own else (_origin(levels), step)


def _origin(levels: NDArray[np.float64]) -> float:
    """Return zero if it is among the levels, so that it stays exact, else the lowest level."""
    return 0.0 if levels[0] <= 0 <= levels[-1] else float(levels[0])


def _own_step(levels: NDArray[np.float64], at_least: float) -> float | None:
    """Return the grid that all (sorted) levels lie on, unless it is finer than `at_least`."""
    span = float(levels[-1] - levels[0])
    blur = float(np.abs(levels).max()) * _FLOAT32_BLUR
    smallest = float(np.diff(levels).min())
    if smallest < at_least:  # sparse or noisy levels: most series without a grid end here
        return None
    for divisor in (1, 2, 3, 4, 5, 10):
        step = smallest / divisor
        if step < max(at_least, 8 * blur):
            return None
        step = span / float(np.rint(span / step))
        places = (levels - levels[0]) / step
        if np.abs(places - np.rint(places)).max() <= max(1e-6, 2 * blur / step):
            return step
    return None


def _fill(series: NDArray[np.float64], missing: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Repeat the last known value where one is missing; the first known one before that."""
    last = np.maximum.accumulate(np.where(missing, 0, np.arange(len(series))))
    filled = series[last]
    return np.where(np.isnan(filled), series[np.argmin(missing)], filled)


def _decode_some(
    codes: NDArray[np.int32],
    lengths: NDArray[np.int64],
    orders: NDArray[np.integer],
    slopes: NDArray[np.float64],
    intercepts: NDArray[np.float64],
) -> NDArray[np.float64]:
    numbers = codes.copy()
    for least in (1, 2):
        chosen = np.repeat(orders >= least, lengths)
        numbers[chosen] = _cumsum_each(numbers[chosen], lengths[orders >= least])
    values = np.repeat(slopes, lengths) * numbers + np.repeat(intercepts, lengths)
    return np.clip(values, -CLIP, CLIP)


def _cumsum_each(numbers: NDArray[np.int32], lengths: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return the running sums of each series; the sum over all may wrap around, its differences come out right."""
    total = np.cumsum(numbers, dtype=np.int32)
    ends = np.cumsum(lengths)
    before = np.zeros(len(ends), dtype=np.int32)
    before[1:] = total[ends[:-1] - 1]
    return np.asarray(total - np.repeat(before, lengths))


def _mean_bits(codes: NDArray[np.integer]) -> float:
    return float(np.log2(1.0 + np.abs(codes)).mean())
