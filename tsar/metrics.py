"""Scores of a forecast against what came, in the definitions of GluonTS; plain numpy, one set of windows at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tsar.types import LARGEST, FloatArray


def seasonal_error(past: FloatArray, season_length: int) -> float:
    """Mean absolute difference at the seasonal lag of one history (N,); lag 1 if it is shorter than a season.

    Missing values are left out. NaN if nothing can be compared.
    """
    lag = season_length if len(past) > season_length else 1
    exponent = np.frexp(np.abs(past[np.isfinite(past)]).max(initial=0.0))[1]
    scaled = np.ldexp(past, -exponent)  # by a power of two: exact, and the largest numbers have a difference and a sum
    differences = np.abs(scaled[lag:] - scaled[:-lag])
    if not np.isfinite(differences).any():
        return float("nan")
    with np.errstate(over="ignore"):
        return float(np.minimum(np.ldexp(np.nanmean(differences), exponent), LARGEST))


def mean_absolute_scaled_error(actual: FloatArray, median: FloatArray, scales: FloatArray) -> float:
    """MASE: absolute error of the median over each series' seasonal error, mean over points (Hyndman & Koehler, 2006).

    Parameters
    ----------
    actual, median
        (I, F); NaN in `actual` is left out.
    scales
        (I,) from `seasonal_error`; series whose scale is 0 or NaN are left out.
    """
    usable = np.isfinite(scales) & (scales > 0)
    errors = np.abs(actual[usable] - median[usable]) / scales[usable, None]
    return float(np.nanmean(errors))


def weighted_quantile_loss(actual: FloatArray, quantiles: FloatArray, levels: Sequence[float]) -> float:
    """WQL: twice the pinball loss summed over the set, over the sum of absolute actual values, mean over levels.

    Parameters
    ----------
    actual
        (I, F); NaN is left out.
    quantiles
        (I, F, Q).
    levels
        Q levels.
    """
    level = np.asarray(levels)
    error = actual[..., None] - quantiles
    loss = 2 * np.maximum(level * error, (level - 1) * error)
    total = np.nansum(np.abs(actual))
    return float((np.nansum(loss, axis=(0, 1)) / total).mean())


def coverage(actual: FloatArray, quantiles: FloatArray) -> FloatArray:
    """Share of actual values at or below each quantile, (Q,); NaN is left out."""
    below = np.where(np.isfinite(actual)[..., None], actual[..., None] <= quantiles, np.nan)
    result: FloatArray = np.nanmean(below, axis=(0, 1))
    return result


def symmetric_mape(actual: FloatArray, median: FloatArray) -> float:
    """sMAPE: ``2 |actual - median| / (|actual| + |median|)``, mean over points; between 0 and 2.

    Parameters
    ----------
    actual, median
        (I, F); NaN in `actual` is left out. Where both are 0 the forecast was right and counts as 0; GluonTS and fev
        leave such points out.
    """
    size = np.abs(actual) + np.abs(median)
    share = np.divide(2 * np.abs(actual - median), size, out=np.zeros_like(size), where=size != 0)
    return float(np.nanmean(share))


def interval_coverage(actual: FloatArray, lower: FloatArray, upper: FloatArray) -> float:
    """Share of actual values (I, F) from `lower` to `upper` (I, F), both included; NaN in `actual` is left out."""
    inside = np.where(np.isfinite(actual), (actual >= lower) & (actual <= upper), np.nan)
    return float(np.nanmean(inside))


def energy_score(actual: FloatArray, paths: FloatArray) -> float:
    """Energy score of sample paths, mean over items: lower is better, and sensitive to how steps go together.

    ``E |X - y| - E |X - X'| / 2`` with Euclidean norms over the horizon (Gneiting & Raftery, 2007, section 4.3).

    Parameters
    ----------
    actual
        (I, F), without missing values.
    paths
        (I, S, F).
    """
    to_actual = np.linalg.norm(paths - actual[:, None], axis=-1).mean(-1)
    between = [np.linalg.norm(one[:, None] - one[None], axis=-1).mean() for one in paths]
    return float((to_actual - np.array(between) / 2).mean())
