"""The model together with Theta and exponential smoothing: the centre from all three, the spread from the model.

Each is weighted, series by series, by how it did on the last stretches of the history (rolling backtests). On short
yearly, quarterly and monthly series the classical methods are strong partners; they cost a thousand times more than
the model, so this is an option and never the default.
"""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing import current_process

import numpy as np
from joblib import Parallel, delayed
from joblib.parallel import get_active_backend

from tsar.refining.classical import forecast_ets, forecast_theta
from tsar.refining.powers import exponents_of, multiply_by_powers
from tsar.types import FloatArray, IntArray
from tsar.workers import watched_workers

Decode = Callable[[FloatArray, IntArray], FloatArray]

FOLDS = 2
"""Backtests a series, one horizon apart."""

PRIOR_WEIGHTS = np.array([0.7, 0.15, 0.15])
"""Weights of model, Theta and ETS before any backtest; the model alone is the best of the three on most sets."""

SHARPNESS = 2.0
"""Weights go with the inverse error to this power."""

SHORTEST_FOLD = 10
"""Points that a backtest leaves at least; shorter series keep the prior weights."""

ITEMS_PER_JOB = 32


def join_classical(
    quantiles: FloatArray,
    values: FloatArray,
    offsets: IntArray,
    season_length: int,
    decode: Decode,
) -> FloatArray:
    """Move the quantiles (I, F, Q) of the model so that their median is the weighted centre of model, Theta and ETS.

    Parameters
    ----------
    quantiles
        Forecast of the model.
    values, offsets
        The panel: series end to end (N,), and where each starts (I + 1,).
    season_length
        Points in a season, 1 for none.
    decode
        Forecasts another panel with the model, (I, F, Q); called once a fold.

    Returns
    -------
    ndarray
        (I, F, Q); items that the model cannot forecast stay NaN.

    Notes
    -----
    Theta and ETS run on all cores, or on as many as ``joblib.parallel_config(n_jobs=…)`` around the call, or joblib's
    environment variable ``LOKY_MAX_CPU_COUNT``, allows; in one process within daemonic processes, which may have no
    children. `ResourceError`, ``resource.worker``, if one of them ends early.
    """
    exponents = exponents_of(values, offsets)
    values = np.ldexp(values, -np.repeat(exponents, np.diff(offsets)))
    scaled = np.ldexp(quantiles, -exponents[:, None, None])
    return multiply_by_powers(_join(scaled, values, offsets, season_length, decode), exponents[:, None, None])


def _join(
    quantiles: FloatArray, values: FloatArray, offsets: IntArray, season_length: int, decode: Decode
) -> FloatArray:
    """As `join_classical`, for series of moderate size."""
    horizon, middle = quantiles.shape[1], quantiles.shape[2] // 2
    errors = np.zeros((len(quantiles), 3))
    for fold in range(1, FOLDS + 1):
        past, starts = cut_ends(values, offsets, fold * horizon, SHORTEST_FOLD)
        actual = _ends(values, offsets, fold * horizon, horizon)
        centres = np.stack(
            [decode(past, starts)[..., middle], *_classical_centres(past, starts, horizon, season_length)]
        )
        missed = np.abs(centres - actual)
        with np.errstate(invalid="ignore"):
            error = np.where(np.isfinite(missed), missed, 0.0).mean(-1).T
        usable = np.isfinite(missed).any(-1).all(0, keepdims=True).T
        errors += np.where(usable, error, 0.0)
    weights = backtest_weights(errors)
    centres = np.stack([quantiles[..., middle], *_classical_centres(values, offsets, horizon, season_length)], -1)
    centre = np.einsum("ifm,im->if", centres, weights)
    moved: FloatArray = quantiles + (centre - quantiles[..., middle])[..., None]
    return np.where(np.isfinite(moved), moved, quantiles)


def backtest_weights(errors: FloatArray) -> FloatArray:
    """Weights (I, M) from backtest errors (I, M): prior times inverse error; the prior where nothing was tested."""
    largest = errors.max(1, keepdims=True)
    tested = largest > 0
    errors = errors / np.where(tested, largest, 1.0)
    floor = np.where(tested, 0.05 * errors.mean(1, keepdims=True), 1.0)
    weights = PRIOR_WEIGHTS * np.where(tested, np.maximum(errors, floor), 1.0) ** -SHARPNESS
    result: FloatArray = weights / weights.sum(1, keepdims=True)
    return result


def cut_ends(values: FloatArray, offsets: IntArray, cut: int, shortest: int) -> tuple[FloatArray, IntArray]:
    """The panel without the last `cut` points of each series; series left with fewer than `shortest` become empty."""
    lengths = np.diff(offsets) - cut
    lengths = np.where(lengths >= shortest, lengths, 0)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    index = np.repeat(offsets[:-1] - starts[:-1], lengths) + np.arange(starts[-1])
    return values[index], starts


def _ends(values: FloatArray, offsets: IntArray, back: int, length: int) -> FloatArray:
    """(I, length) values from `back` points before the end of each series; NaN before its beginning."""
    place = offsets[1:, None] - back + np.arange(length)
    return np.where(place >= offsets[:-1, None], values[np.clip(place, 0, len(values) - 1)], np.nan)


def _classical_centres(values: FloatArray, offsets: IntArray, horizon: int, season: int) -> list[FloatArray]:
    """Medians (I, F) of Theta and of ETS, many series at a time."""
    items = np.arange(len(offsets) - 1)
    parts = np.array_split(items, max(len(items) // ITEMS_PER_JOB, 1))
    histories = [[values[offsets[item] : offsets[item + 1]] for item in part] for part in parts]
    jobs = [delayed(_centres_of)(history, horizon, season) for history in histories]
    with watched_workers():
        done = np.concatenate(Parallel(n_jobs=_num_jobs(len(parts)))(jobs))
    return [done[:, 0], done[:, 1]]


def _num_jobs(num_parts: int) -> int:
    """Processes to use, as joblib counts them: those of a surrounding `joblib.parallel_config`, else all cores."""
    if num_parts == 1 or current_process().daemon:
        return 1
    asked = get_active_backend()[1]
    return -1 if asked is None else int(asked)


def _centres_of(histories: list[FloatArray], horizon: int, season: int) -> FloatArray:
    methods = (forecast_theta, forecast_ets)
    centres = [[method(past, horizon, season, [0.5])[:, 0] for method in methods] for past in histories]
    return np.array(centres).reshape(len(histories), len(methods), horizon)
