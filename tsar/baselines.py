"""Simple forecasts that every model must beat."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def seasonal_naive(past: Array, prediction_length: int, season_length: int) -> Array:
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
    return filled[len(filled) - season + np.arange(prediction_length) % season]
