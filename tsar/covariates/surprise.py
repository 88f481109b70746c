"""Rolling backtests of the target and of every covariate: the errors of the one, the surprises of the others.

A surprise is the covariate minus what the model expected of it from its own past. Season and trend are no surprise, so
that regressing errors on surprises finds what the model could not know (the partialling-out of Robinson, 1988, with the
forecaster in the place of the smoother).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tsar.refining.powers import near_one
from tsar.types import Decode, FloatArray, IntArray

MAX_ITEMS = 256
"""Items that the effect is learned from; more are sampled."""

MAX_WINDOWS = 80
"""Backtests of an item."""

MAX_SERIES = 6000
"""Series forecast in all backtests together, targets and covariates."""

HISTORY = 4096
"""Points that a forecaster may look at beyond the context of the model."""

LEAST_HISTORY = 16
MAX_LEAD = 96
LEAST_CORRELATION = 4.0
"""A lead counts if its correlation is this many standard errors from zero."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Backtests:
    """Rolling backtests, W windows.

    Attributes
    ----------
    items
        (W,) item of each window; windows of an item are in the order of time.
    fold
        (W,) 0 for the first half of an item's windows, 1 and 2 for its third and fourth quarter. Choices are made on
        folds 1 and 2, each explained by what was learned from the folds before it.
    errors
        (W, F) actual minus median, NaN where not observed.
    quantiles
        (W, F, Q) forecast of the target.
    known, expected
        (W, F, C) the covariates, and their forecasts; NaN where there is none.
    """

    items: IntArray
    fold: IntArray
    errors: FloatArray
    quantiles: FloatArray
    known: FloatArray
    expected: FloatArray

    @property
    def surprises(self) -> FloatArray:
        """(W, F, C) covariates minus their forecasts; 0 where either is missing."""
        return np.nan_to_num(self.known - self.expected)


def make_backtests(
    decode: Decode,
    values: FloatArray,
    offsets: IntArray,
    covariates: FloatArray,
    leads: FloatArray,
    prediction_length: int,
    context_length: int,
    items: IntArray,
    forecast: Decode | None = None,
) -> Backtests | None:
    """Backtest target and covariates on the ends of the histories; None if no history is long enough for two.

    Parameters
    ----------
    decode
        The model.
    values, offsets
        The panel, (N,) and (I + 1,).
    covariates
        (C, N) each shifted by its lead, see `shift_by_lead`.
    leads
        (C,) steps that each is known ahead, inf for those known as far as wanted.
    prediction_length, context_length
        F, and the points before each origin that are read.
    items
        Which items take part.
    forecast
        How the target is forecast if not by `decode`; it is given `HISTORY` points at least.
    """
    limit = max(2, MAX_SERIES // (len(items) * (1 + len(covariates))))
    owners, origins, folds = [], [], []
    for item in items:
        length = int(offsets[item + 1] - offsets[item])
        spare = length - prediction_length - LEAST_HISTORY
        stride = prediction_length if spare >= 8 * prediction_length else max(1, prediction_length // 3)
        count = min(spare // stride + 1 if spare >= 0 else 0, limit, MAX_WINDOWS)
        if count < 2:
            continue
        first = offsets[item + 1] - prediction_length - stride * np.arange(count)[::-1]
        origins.append(first)
        owners.append(np.full(count, item))
        folds.append(np.maximum(4 * np.arange(count) // count, 1) - 1)
    if not origins:
        return None
    owner, origin = np.concatenate(owners), np.concatenate(origins)
    starts = np.maximum(offsets[owner], origin - context_length)
    ahead = origin[:, None] + np.arange(prediction_length)
    longer = np.maximum(offsets[owner], origin - max(context_length, HISTORY))
    quantiles = (
        _forecast_windows(decode, values, starts, origin, prediction_length)
        if forecast is None
        else _forecast_windows(forecast, values, longer, origin, prediction_length)
    )
    middle = quantiles.shape[-1] // 2
    known = np.full((*ahead.shape, len(covariates)), np.nan)
    expected = np.full_like(known, np.nan)
    is_known = np.arange(1, prediction_length + 1)[:, None] <= leads
    for number, covariate in enumerate(covariates):
        known[..., number] = np.where(is_known[:, number], covariate[ahead], np.nan)
        outlook = _forecast_windows(decode, covariate, starts, origin, prediction_length)
        expected[..., number] = outlook[..., middle]
    return Backtests(
        items=owner,
        fold=np.concatenate(folds),
        errors=values[ahead] - quantiles[..., middle],
        quantiles=quantiles,
        known=known,
        expected=expected,
    )


def _forecast_windows(
    decode: Decode, values: FloatArray, starts: IntArray, ends: IntArray, prediction_length: int
) -> FloatArray:
    lengths = ends - starts
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    index = np.repeat(starts - bounds[:-1], lengths) + np.arange(bounds[-1])
    return decode(values[index], bounds, prediction_length)


def find_leads(values: FloatArray, offsets: IntArray, covariates: FloatArray, season_length: int) -> IntArray:
    """Steps (C,) by which each past covariate runs ahead of the target, 0 where none can be told.

    The lag of the largest correlation between seasonal differences of both, pooled over items.
    """
    leads = np.zeros(len(covariates), dtype=np.int64)
    for number, covariate in enumerate(covariates):
        sums, weight = np.zeros(MAX_LEAD + 1), 0.0
        for first, last in pairwise(offsets):
            target, driver = (whiten(series[first:last], season_length) for series in (values, covariate))
            size = len(target)
            if size <= MAX_LEAD // 4:
                continue
            transform = [np.fft.rfft(series, 2 * size) for series in (target, driver)]
            products = np.fft.irfft(transform[0] * transform[1].conj())[: min(MAX_LEAD + 1, size // 2)]
            sums[: len(products)] += products
            weight += float(np.count_nonzero(target * driver))
        if weight:
            correlation = np.abs(sums[1:]) / weight
            best = int(correlation.argmax())
            if correlation[best] * np.sqrt(weight) >= LEAST_CORRELATION:
                leads[number] = best + 1
    return leads


def whiten(series: FloatArray, season_length: int) -> FloatArray:
    """Differences, also over a season if there are three of them, in units of their deviation; missing ones are 0."""
    change = np.diff(near_one(series)[0])
    if len(change) > 3 * season_length > 3:
        change = change[season_length:] - change[:-season_length]
    known = change[np.isfinite(change)]
    if not len(known) or not known.std():
        return np.zeros_like(change)
    whitened: FloatArray = np.clip(np.nan_to_num((change - known.mean()) / known.std()), -5, 5)
    return whitened


def shift_by_lead(covariate: FloatArray, offsets: IntArray, lead: int) -> tuple[FloatArray, FloatArray]:
    """Delay a past covariate (N,) by its lead; it then is known `lead` steps ahead, (I, lead)."""
    delayed = np.full_like(covariate, np.nan)
    ahead = np.full((len(offsets) - 1, lead), np.nan)
    for item, (first, last) in enumerate(pairwise(offsets)):
        delayed[min(first + lead, last) : last] = covariate[first : max(last - lead, first)]
        rest = covariate[max(last - lead, first) : last]
        ahead[item, lead - len(rest) :] = rest
    return delayed, ahead
