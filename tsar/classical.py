"""Theta and exponential smoothing, from the libraries that keep them well: the partners and the judges of the model.

One history in, quantiles out. `statsforecast` (extra ``classical``) is some ten times faster; `statsmodels` is always
there. Histories are cut to the last `MAX_HISTORY` points and gaps are filled linearly, since neither library takes
missing values. Seasons longer than `MAX_SEASON` are taken off by a seasonal-trend decomposition first (STL), as both
methods would need hundreds of parameters for them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from inspect import signature
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from tsar.errors import OptionError
from tsar.types import FloatArray

MAX_HISTORY = 200
MAX_SEASON = 24
SHORTEST = 6
"""Histories with fewer observed points are forecast by their last value."""

LARGEST_RATIO = 10.0
"""A quantile further from the last value than this many ranges of the history is the sign of a failed fit."""


def forecast_theta(
    past: FloatArray, prediction_length: int, season_length: int, levels: Sequence[float], *, engine: str = "auto"
) -> FloatArray:
    """Forecast one history by the Theta method (Assimakopoulos & Nikolopoulos, 2000).

    Parameters
    ----------
    past
        (N,) history, NaN where missing.
    prediction_length, season_length
        F, and the number of points in a season (1: none).
    levels
        Q quantile levels in (0, 1).
    engine
        ``"statsforecast"`` (AutoTheta), ``"statsmodels"`` (ThetaModel), ``"auto"``: the first if it is installed.

    Returns
    -------
    ndarray
        (F, Q); NaN for a history without an observed value. Histories of fewer than `SHORTEST` points, constant ones
        and those that the library fails on are continued by their last value, with the spread of a random walk.

    Raises
    ------
    OptionError
        ``option.invalid`` for an engine that is unknown or not installed.
    """
    methods = {"statsforecast": _statsforecast_theta, "statsmodels": _statsmodels_theta}
    return _forecast(methods[resolve_engine(engine)], past, prediction_length, season_length, levels)


def forecast_ets(
    past: FloatArray, prediction_length: int, season_length: int, levels: Sequence[float], *, engine: str = "auto"
) -> FloatArray:
    """Forecast one history by exponential smoothing, its form chosen by the corrected Akaike criterion.

    Parameters, result and errors as in `forecast_theta`. The forms compared follow Hyndman et al. (2008): level, damped
    or plain trend, and additive or, for positive data, multiplicative seasons and errors.
    """
    methods = {"statsforecast": _statsforecast_ets, "statsmodels": _statsmodels_ets}
    return _forecast(methods[resolve_engine(engine)], past, prediction_length, season_length, levels)


def resolve_engine(engine: str) -> str:
    """Return the name of the library to use; errors as in `forecast_theta`."""
    installed = find_spec("statsforecast") is not None
    if engine == "auto":
        return "statsforecast" if installed else "statsmodels"
    if engine not in ("statsforecast", "statsmodels"):
        raise OptionError(
            f"There is no engine {engine!r}.", code="option.invalid", hint="statsforecast or statsmodels."
        )
    if engine == "statsforecast" and not installed:
        raise OptionError(
            "statsforecast is not installed.", code="option.invalid", hint="pip install 'tsar-forecast[classical]'."
        )
    return engine


Method = Callable[[FloatArray, int, int, FloatArray], FloatArray]


def _forecast(method: Method, past: FloatArray, horizon: int, season: int, levels: Sequence[float]) -> FloatArray:
    """Clean the history, take a long season off, forecast by `method`, and fall back to the last value."""
    wanted = np.asarray(levels, dtype=float)
    history = fill_gaps(past)[-MAX_HISTORY:] if season <= MAX_SEASON else fill_gaps(past)[-4 * season :]
    if not len(history):
        return np.full((horizon, len(wanted)), np.nan)
    fallback = _random_walk(history, horizon, wanted)
    span = np.ptp(history)
    if len(history) < SHORTEST or span <= 1e-9 * max(np.abs(history).max(), 1e-300):
        return fallback
    season = season if season > 1 and len(history) >= 2 * season + 1 else 1
    offset: FloatArray | float = 0.0
    level = float(history.min())  # scaled, so that no optimiser meets tiny or huge numbers
    shift = 0.0 if level > 0 else level  # positive data stay positive: multiplicative forms need them so
    unit = max(float(span), float(history.max()) if level > 0 else 0.0)
    scaled = (history - shift) / unit
    if season > MAX_SEASON:
        scaled, offset = _take_season_off(scaled, season, horizon)
        season = 1
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            quantiles = np.sort(method(scaled, horizon, season, wanted), -1) + offset
    except (ValueError, ArithmeticError, IndexError, RuntimeError):  # a fit that did not work out
        return fallback
    quantiles = quantiles * unit + shift
    is_sane = np.isfinite(quantiles).all() and np.abs(quantiles - history[-1]).max() <= LARGEST_RATIO * span
    return quantiles if is_sane else fallback


def fill_gaps(past: FloatArray) -> FloatArray:
    """Trim missing ends of a history (N,) and fill its gaps linearly; empty if nothing is observed."""
    known = np.flatnonzero(np.isfinite(past))
    if not len(known):
        return np.empty(0)
    inside = np.arange(known[0], known[-1] + 1)
    return np.interp(inside, known, past[known])


def _random_walk(history: FloatArray, horizon: int, levels: FloatArray) -> FloatArray:
    step = np.sqrt(np.mean(np.diff(history) ** 2)) if len(history) > 1 else 0.0
    spread = step * np.sqrt(np.arange(1, horizon + 1))
    result: FloatArray = history[-1] + spread[:, None] * norm.ppf(levels)
    return result


def _take_season_off(history: FloatArray, season: int, horizon: int) -> tuple[FloatArray, FloatArray]:
    """Return the history without its season, and the season to come (horizon, 1)."""
    from statsmodels.tsa.seasonal import STL

    seasonal = np.asarray(STL(history, period=season, robust=False).fit().seasonal)
    ahead = seasonal[len(history) - season + np.arange(horizon) % season]
    return history - seasonal, ahead[:, None]


def _statsmodels_theta(history: FloatArray, horizon: int, season: int, levels: FloatArray) -> FloatArray:
    from statsmodels.tsa.forecasting.theta import ThetaModel

    method = "auto" if history.min() > 0 else "additive"
    fitted = ThetaModel(history, period=season, deseasonalize=season > 1, method=method).fit(disp=False)
    centre = np.asarray(fitted.forecast(horizon))
    # the law of simple exponential smoothing with drift, which Theta is (Hyndman & Billah, 2003)
    spread = np.sqrt(fitted.sigma2 * (1 + np.arange(horizon) * fitted.params["alpha"] ** 2))
    result: FloatArray = centre[:, None] + spread[:, None] * norm.ppf(levels)
    return result


def _statsmodels_ets(history: FloatArray, horizon: int, season: int, levels: FloatArray) -> FloatArray:
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    seasons: list[str | None] = [None] if season == 1 else [None, "add"]
    forms: list[dict[str, Any]] = [
        {"error": "add", "trend": trend, "damped_trend": damped, "seasonal": seasonal}
        for seasonal in seasons
        for trend, damped in ((None, False), ("add", False), ("add", True))
    ]
    if season > 1 and history.min() > 0:
        forms += [
            {"error": "mul", "trend": trend, "damped_trend": damped, "seasonal": "mul"}
            for trend, damped in ((None, False), ("add", True))
        ]
    series = pd.Series(history)  # statsmodels predicts from nothing else
    best: Any = None
    for form in forms:
        fitted = ETSModel(series, seasonal_periods=season if form["seasonal"] else None, **form).fit(disp=False)
        if np.isfinite(fitted.aicc) and (best is None or fitted.aicc < best.aicc):
            best = fitted
    if best is None:
        raise ValueError("no form could be fitted")
    seed = "rng" if "rng" in signature(best.simulate).parameters else "random_state"  # its name until statsmodels 0.15
    prediction = best.get_prediction(start=len(history), end=len(history) + horizon - 1, **{seed: 0})
    centre = np.asarray(prediction.predicted_mean)
    upper = np.asarray(prediction.pred_int(alpha=0.2))[:, 1]
    result: FloatArray = centre[:, None] + ((upper - centre) / norm.ppf(0.9))[:, None] * norm.ppf(levels)
    return result


def _statsforecast_theta(history: FloatArray, horizon: int, season: int, levels: FloatArray) -> FloatArray:
    from statsforecast.models import AutoTheta

    return _from_intervals(AutoTheta(season_length=season), history, horizon, levels)


def _statsforecast_ets(history: FloatArray, horizon: int, season: int, levels: FloatArray) -> FloatArray:
    from statsforecast.models import AutoETS

    return _from_intervals(AutoETS(season_length=season), history, horizon, levels)


def _from_intervals(model: Any, history: FloatArray, horizon: int, levels: FloatArray) -> FloatArray:
    """Quantiles of a statsforecast model, from its central intervals."""
    widths = sorted({round(abs(2 * level - 1) * 100, 6) for level in levels if level != 0.5}) or [80.0]
    answer = model.forecast(y=history, h=horizon, level=widths)
    columns = []
    for level in levels:
        width = round(abs(2 * level - 1) * 100, 6)
        columns.append(answer["mean"] if level == 0.5 else answer[f"{'lo' if level < 0.5 else 'hi'}-{width}"])
    result: FloatArray = np.stack(columns, -1).astype(float)
    return result
