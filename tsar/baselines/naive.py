"""Seasonal naive and drift."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from tsar.baselines.base import Baseline
from tsar.refining.classical import fill_gaps
from tsar.refining.powers import near_one
from tsar.types import FloatArray


def seasonal_naive(past: FloatArray, prediction_length: int, season_length: int) -> FloatArray:
    """Repeat the last season of one history (N,); the last value if it is shorter than a season.

    Missing values are filled with the last observed one before them, those at the start with the first.

    Returns
    -------
    ndarray
        (prediction_length,); all NaN for a history without an observed value.
    """
    known = np.flatnonzero(np.isfinite(past))
    if not len(known):
        return np.full(prediction_length, np.nan)
    place = np.maximum(np.searchsorted(known, np.arange(len(past)), side="right") - 1, 0)
    filled = past[known[place]]
    season = season_length if len(filled) >= season_length else 1
    result: FloatArray = filled[len(filled) - season + np.arange(prediction_length) % season]
    return result


class SeasonalNaive(Baseline):
    """The last season again, with the spread of a seasonal random walk (Hyndman & Athanasopoulos, 2021, 5.5)."""

    def _forecast_one(self, past: FloatArray, horizon: int, season: int, levels: FloatArray) -> FloatArray:
        centre = seasonal_naive(past, horizon, season)
        lag = season if len(past) > season else 1
        spread = _root_mean_square(past[lag:] - past[:-lag]) * np.sqrt(np.arange(horizon) // lag + 1)
        result: FloatArray = centre[:, None] + spread[:, None] * ndtri(levels)
        return result


class Drift(Baseline):
    """The straight line through the first and the last value, with the spread of a random walk with drift."""

    def _forecast_one(self, past: FloatArray, horizon: int, season: int, levels: FloatArray) -> FloatArray:
        history = fill_gaps(past)
        if not len(history):
            return np.full((horizon, len(levels)), np.nan)
        steps, ahead = np.diff(history), np.arange(1, horizon + 1)
        slope = steps.mean() if len(steps) else 0.0
        spread = _root_mean_square(steps - slope) * np.sqrt(ahead * (1 + ahead / max(len(steps), 1)))
        result: FloatArray = (history[-1] + slope * ahead)[:, None] + spread[:, None] * ndtri(levels)
        return result


def _root_mean_square(values: FloatArray) -> float:
    known, exponent = near_one(values[np.isfinite(values)])
    return float(np.ldexp(np.sqrt(np.mean(known**2)), exponent)) if len(known) else 0.0
