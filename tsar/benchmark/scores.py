"""Scores of one set, and what many sets say together: relative scores, skill, win rate and their intervals.

The definitions are those of GluonTS (scores of a set) and fev (skill and win rate); docs/benchmark.md has the formulas.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tsar.benchmark.sets import EvaluationSet
from tsar.metrics import (
    coverage,
    mean_absolute_scaled_error,
    seasonal_error,
    symmetric_mape,
    weighted_quantile_loss,
)
from tsar.types import FloatArray

SMALLEST_RATIO, LARGEST_RATIO = 1e-2, 100.0  # between which fev clips relative scores
RESAMPLES = 1000
CONFIDENCE = 0.95


def score_forecast(
    data: EvaluationSet, median: FloatArray, quantiles: FloatArray, levels: Sequence[float]
) -> dict[str, float]:
    """Score one forecast of a set.

    Parameters
    ----------
    data
        What came.
    median
        (I, F).
    quantiles
        (I, F, Q). Where these or the median are missing or infinite, 0 is scored instead, so that a forecaster gains
        nothing by leaving out what is hard; ``not_finite`` counts such series.
    levels
        Q levels.

    Returns
    -------
    dict
        ``MASE``, ``WQL``, ``sMAPE``, ``coverage_error``, one ``coverage_LEVEL`` for each level, ``not_finite``. A score
        is the mean over the groups of the set; NaN if it cannot be computed for one (all series constant, all values
        zero).
    """
    finite = np.isfinite(median).all(axis=1) & np.isfinite(quantiles).all(axis=(1, 2))
    median, quantiles = np.nan_to_num(median), np.nan_to_num(quantiles)
    scales = np.array([seasonal_error(past, data.seasonality) for past in data.pasts])
    parts = []
    for group in np.unique(data.groups):
        rows = data.groups == group
        actual = data.actual[rows]
        parts.append(
            [
                _mase(actual, median[rows], scales[rows]),
                _wql(actual, quantiles[rows], levels),
                _unless_empty(symmetric_mape, actual, median[rows]),
                *(coverage(actual, quantiles[rows]) if np.isfinite(actual).any() else np.full(len(levels), np.nan)),
            ]
        )
    mase, wql, smape, *covered = np.mean(parts, axis=0).tolist()
    error = float(np.abs(np.asarray(covered) - np.asarray(levels)).mean())
    scores = {"MASE": mase, "WQL": wql, "sMAPE": smape, "coverage_error": error}
    scores |= {f"coverage_{level:g}": share for level, share in zip(levels, covered, strict=True)}
    return {**scores, "not_finite": int((~finite).sum())}


def _mase(actual: FloatArray, median: FloatArray, scales: FloatArray) -> float:
    usable = np.isfinite(scales) & (scales > 0)
    if not np.isfinite(actual[usable]).any():
        return float("nan")
    return mean_absolute_scaled_error(actual, median, scales)


def _wql(actual: FloatArray, quantiles: FloatArray, levels: Sequence[float]) -> float:
    if not np.nansum(np.abs(actual)) > 0:
        return float("nan")
    return weighted_quantile_loss(actual, quantiles, levels)


def _unless_empty(metric: Callable[[FloatArray, FloatArray], float], actual: FloatArray, median: FloatArray) -> float:
    return metric(actual, median) if np.isfinite(actual).any() else float("nan")


# ------------------------------------------------------------------------------------------------------- aggregates


def geometric_mean(ratios: FloatArray) -> FloatArray:
    """Geometric mean over sets, the first axis; 0 if one is 0."""
    with np.errstate(divide="ignore"):
        result: FloatArray = np.exp(np.log(ratios).mean(axis=0))
    return result


def skill_score(relative: FloatArray) -> FloatArray:
    """1 - geometric mean over sets of scores relative to the baseline, clipped to [0.01, 100].

    Parameters
    ----------
    relative
        (sets, models, ...).

    Returns
    -------
    ndarray
        (models, ...): 0 is as good as the baseline, 1 is perfect, negative is worse.
    """
    return 1 - geometric_mean(np.clip(relative, SMALLEST_RATIO, LARGEST_RATIO))


def win_rate(relative: FloatArray) -> FloatArray:
    """Share of comparisons with the other models, over all sets, that a model wins; a tie is half a win.

    Parameters
    ----------
    relative
        (sets, models, ...), lower is better, clipped as for the skill score.

    Returns
    -------
    ndarray
        (models, ...); NaN if there is one model only.
    """
    clipped = np.clip(relative, SMALLEST_RATIO, LARGEST_RATIO)
    others = clipped.shape[1] - 1
    if others < 1:
        return np.full(clipped.shape[1:], np.nan)
    mine, theirs = clipped[:, :, None], clipped[:, None, :]
    points = (mine < theirs) + 0.5 * (mine == theirs)
    result: FloatArray = (points.mean(axis=0).sum(axis=1) - 0.5) / others  # less the tie with itself
    return result


def bootstrap_interval(
    statistic: Callable[[FloatArray], FloatArray], relative: FloatArray, seed: int
) -> tuple[FloatArray, FloatArray]:
    """Return the 95 % interval of a statistic when sets are drawn anew, with replacement, a thousand times.

    Parameters
    ----------
    statistic
        `skill_score` or `win_rate`.
    relative
        (sets, models).
    seed
        Of the draws; the same seed gives the same interval, and the one that fev gives.

    Returns
    -------
    tuple
        Lower and upper bound, (models,) each (percentiles, Efron 1979). With few sets they are too narrow.
    """
    num_sets = len(relative)
    draws = np.random.default_rng(seed).integers(0, num_sets, size=(RESAMPLES, num_sets))
    values = statistic(np.moveaxis(relative[draws], 0, -1))
    tail = (1 - CONFIDENCE) / 2
    lower, upper = np.quantile(values, [tail, 1 - tail], axis=-1)
    return lower, upper
