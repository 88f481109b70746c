"""Theta and exponential smoothing, from the libraries that keep them well: the partners and the judges of the model.

One history in, quantiles out. `statsforecast` (extra ``classical``) is some ten times faster; `statsmodels` is always
there. Histories are cut to the last `MAX_HISTORY` points and gaps are filled linearly, since neither library takes
missing values; from a history that ends with missing values, those are forecast as well and left out of the answer.
Seasons longer than `MAX_SEASON` are taken off by a seasonal-trend decomposition first (STL), as both methods would need
hundreds of parameters for them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from inspect import signature
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from tsar.errors import OptionError
from tsar.refining.powers import multiply_by_powers
from tsar.types import FloatArray

MAX_HISTORY = 200
MAX_SEASON = 24
SHORTEST = 6
"""Histories with fewer observed points are forecast by their last value."""

LARGEST_RATIO = 10.0
"""A forecast at one of `JUDGED_LEVELS` further from the last value than this many ranges of the history, and two more
for each length of the history ahead, is the sign of a failed fit."""

JUDGED_LEVELS = (0.1, 0.5, 0.9)
"""Always asked of a method, so that whether a fit counts does not depend on the levels that the caller wants."""

FAR_LEVEL = 100.0
"""Positive data whose lowest value is this many times their range are shifted: multiplicative forms add nothing."""

OUTERMOST = 0.001
"""Levels closer to 0 or 1 than this are not asked of statsforecast: its intervals of 100 % are infinite."""

_WARNING_FILTERS = Lock()


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
    """Forecast by `method` in a unit near the data's, from the last observed value on."""
    wanted = np.asarray(levels, dtype=float)
    known = np.flatnonzero(np.isfinite(past))
    if not len(known):
        return np.full((horizon, len(wanted)), np.nan)
    missing = len(past) - 1 - int(known[-1])
    exponent = int(np.frexp(np.abs(past[known]).max())[1])
    history = fill_gaps(np.ldexp(past, -exponent))  # divided by a power of two, so nothing is rounded or overflows
    ordered = np.unique([*wanted, *JUDGED_LEVELS])
    quantiles = _forecast_clean(method, history, missing + horizon, season, ordered)
    return multiply_by_powers(quantiles, exponent)[missing:, np.searchsorted(ordered, wanted)]


def _forecast_clean(method: Method, history: FloatArray, horizon: int, season: int, levels: FloatArray) -> FloatArray:
    """Take a long season off, forecast by `method` in the unit it needs, and fall back to the last value."""
    history = history[-(MAX_HISTORY if season <= MAX_SEASON else 4 * season) :]
    fallback = _random_walk(history, horizon, levels)
    span = float(np.ptp(history))
    if len(history) < SHORTEST or span <= 1e-12 * np.abs(history).max():  # shorter than rounding is constant
        return fallback
    season = season if season > 1 and len(history) >= 2 * season + 1 else 1
    lowest = float(history.min())
    is_near_zero = 0 <= lowest < FAR_LEVEL * span  # there multiplicative forms matter, so positive data stay positive
    shift = 0.0 if is_near_zero else lowest if lowest < 0 else float(history.mean())
    unit = float(history.max()) if is_near_zero else span
    scaled = (history - shift) / unit
    offset: FloatArray | float = 0.0
    try:
        with _quiet():
            if season > MAX_SEASON:
                scaled, offset = _take_season_off(scaled, season, horizon)
                scaled, season = scaled[-MAX_HISTORY:], 1
            quantiles = np.sort(method(scaled, horizon, season, levels), -1) + offset
    except Exception:  # statsforecast raises the bare class, and a panel must not stop for one series
        return fallback
    quantiles = quantiles * unit + shift
    judged = quantiles[:, np.searchsorted(levels, JUDGED_LEVELS)]
    reach = LARGEST_RATIO + 2 * np.arange(1, horizon + 1)[:, None] / len(history)
    is_sane = np.isfinite(quantiles).all() and (np.abs(judged - history[-1]) <= reach * span).all()
    return quantiles if is_sane else fallback


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the libraries; one thread at a time, as the filters of warnings belong to the whole process."""
    with _WARNING_FILTERS, warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def fill_gaps(past: FloatArray) -> FloatArray:
    """Trim missing ends of a history (N,) and fill its gaps linearly; empty if nothing is observed.

    The result ends with the last observed value: whoever forecasts from it must forecast the trimmed end as well.
    """
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

    jump = -(-season // 10)  # smoothed at every so many points, as Cleveland et al. (1990) advise: a tenth of the time
    decomposed = STL(history, period=season, robust=False, trend_jump=jump, low_pass_jump=jump).fit()
    seasonal = np.asarray(decomposed.seasonal)
    ahead = seasonal[len(history) - season + np.arange(horizon) % season]
    return history - seasonal, ahead[:, None]


def _statsmodels_theta(history: FloatArray, horizon: int, season: int, levels: FloatArray) -> FloatArray:
    from statsmodels.tsa.forecasting.theta import ThetaModel

    method = "auto" if history.min() > 0 else "additive"
    fitted = ThetaModel(history, period=season, deseasonalize=season > 1, method=method).fit(disp=False)
    centre = np.asarray(fitted.forecast(horizon))
    is_multiplied = fitted.model.method.startswith("mul")
    factor = np.asarray(fitted.forecast_components(horizon + season).seasonal)  # a season more: to look back from
    before = factor[(np.arange(len(history)) - len(history)) % season]
    plain = history / before if is_multiplied else history - before
    # the law of simple exponential smoothing with drift, which Theta is (Hyndman & Billah, 2003)
    alpha = float(fitted.params["alpha"])
    deviation = _smoothing_deviation(plain, alpha, float(fitted.params["b0"]))
    spread = deviation * np.sqrt(1 + np.arange(horizon) * alpha**2)
    if is_multiplied:
        spread = spread * factor[:horizon]
    result: FloatArray = centre[:, None] + spread[:, None] * norm.ppf(levels)
    return result


def _smoothing_deviation(series: FloatArray, alpha: float, slope: float) -> float:
    """Standard deviation of what Theta's one-step forecasts miss; statsmodels' own is of the series with its season."""
    level, missed = series[0], np.empty(len(series) - 1)
    for step, value in enumerate(series[1:]):
        drift = slope / 2 * ((1 - (1 - alpha) ** (step + 1)) / alpha if alpha > 0 else 0.0)
        missed[step] = value - level - drift
        level += alpha * (value - level)
    return float(np.sqrt(np.sum(missed**2) / max(len(missed) - 2, 1)))  # slope and alpha were fitted


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
        try:
            fitted = ETSModel(series, seasonal_periods=season if form["seasonal"] else None, **form).fit(disp=False)
        except Exception:  # a form that does not fit this series, whatever the library calls that; others may
            continue
        if np.isfinite(fitted.aicc) and (best is None or fitted.aicc < best.aicc):
            best = fitted
    if best is None:
        raise ValueError("no form could be fitted")
    takes_rng = "rng" in signature(best.simulate).parameters  # random_state until statsmodels 0.15
    seed: dict[str, Any] = {"rng": np.random.default_rng(0)} if takes_rng else {"random_state": 0}
    prediction = best.get_prediction(start=len(history), end=len(history) + horizon - 1, **seed)
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
    """Quantiles of a statsforecast model, from its central intervals; far tails are continued as normal ones."""
    inner = np.clip(levels, OUTERMOST, 1 - OUTERMOST)
    widths = {level: round(abs(2 * level - 1) * 100, 6) for level in inner if level != 0.5}
    answer = model.forecast(y=history, h=horizon, level=sorted(set(widths.values())) or [80.0])
    centre = np.asarray(answer["mean"], dtype=float)
    columns = []
    for level, near in zip(levels, inner, strict=True):
        if near == 0.5:
            columns.append(centre)
            continue
        column = np.asarray(answer[f"{'lo' if near < 0.5 else 'hi'}-{widths[near]}"], dtype=float)
        columns.append(column if near == level else centre + (column - centre) * norm.ppf(level) / norm.ppf(near))
    return np.stack(columns, -1)
