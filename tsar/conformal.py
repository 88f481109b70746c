"""Conformal calibration: bands whose coverage was measured on the history's own ends, and corrected.

A backtest shows, for every level, how far above or below the quantile the values came. The quantile of these residuals
is what the level lacks: added to it, the band covers what it says, as far as the future resembles the last windows.

``"cqr"`` corrects every quantile of the model (conformalised quantile regression, Romano, Patterson & Candès, 2019, in
its two-sided form, level by level). ``"split"`` keeps the median only and takes the spread from the residuals (split
conformal, Lei et al., 2018). Both measure residuals in units of the width of the model's own 80 % band, so that series
of any size can be pooled, and both work by step of the horizon: a step whose own residuals are too few borrows those of
its neighbours.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import ndtri
from sklearn.base import clone

from tsar.arrays import read_arrays
from tsar.backtesting.result import BacktestResult
from tsar.backtesting.run import backtest
from tsar.errors import OptionError, quiet, warn
from tsar.forecast import Forecast, validate_levels
from tsar.frame import target_names
from tsar.samples import Dependence
from tsar.types import LARGEST, FloatArray

METHODS = ("cqr", "split")
RESIDUALS_WANTED = 200
"""Steps with fewer residuals of their own borrow from their neighbours until there are so many."""

WINDOWS = (6, 24)
"""Fewest and most windows of the backtest that `Forecaster.fit` runs."""

RESIDUALS_TRUSTED = 20
"""With fewer in all, `Forecaster.fit` warns that the calibration is weak."""

DECILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Levels that are always calibrated, besides those of the forecaster."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Corrections of a forecaster's quantiles.

    Attributes
    ----------
    method : {"cqr", "split"}
        What is corrected, see the head of this module.
    levels : (Q,)
        Ascending.
    shifts : (F, Q)
        What is added, in units of the width of the forecast's own 80 % band (its mean over the horizon).
    dependence : Dependence
        How the errors of the steps go together, for `tsar.samples`.
    num_residuals : int
        Points that it was learned from.
    """

    method: str
    levels: FloatArray
    shifts: FloatArray
    dependence: Dependence
    num_residuals: int

    def apply(self, forecast: Forecast) -> Forecast:
        """Return the calibrated forecast.

        Steps beyond the calibrated horizon are corrected like its last one. Where the model gives no spread (constant
        histories) there is nothing to scale, and nothing is changed. Quantiles stay in order: crossing ones are
        sorted (Chernozhukov, Fernández-Val & Galichon, 2010).
        """
        quantiles = forecast.at(self.levels.tolist())
        steps = np.minimum(np.arange(quantiles.shape[-2]), len(self.shifts) - 1)
        with np.errstate(over="ignore"):  # beyond the largest number there is no quantile
            moved = _base(quantiles, self.levels, self.method) + _unit(quantiles, self.levels) * self.shifts[steps]
        moved = np.clip(moved, -LARGEST, LARGEST)
        return replace(forecast, quantiles=np.sort(moved, axis=-1), levels=self.levels, dependence=self.dependence)

    def to_bytes(self) -> bytes:
        """Write everything as an npz archive without pickles."""
        content = io.BytesIO()
        np.savez(
            content, method=self.method, levels=self.levels, shifts=self.shifts, num_residuals=self.num_residuals,
            correlation=self.dependence.correlation, lag=self.dependence.lag,
        )  # fmt: skip
        return content.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Calibration:
        """Read what `to_bytes` wrote."""
        stored = read_arrays(content)
        return cls(
            str(stored["method"]), stored["levels"], stored["shifts"],
            Dependence(stored["correlation"], float(stored["lag"])), int(stored["num_residuals"]),
        )  # fmt: skip


def fit_calibration(result: BacktestResult, method: str = "cqr") -> Calibration:
    """Learn the corrections from a backtest.

    Parameters
    ----------
    result
        Backtest of the uncalibrated forecaster; its levels are the ones that are calibrated, and must hold 0.1, 0.5 and
        0.9.
    method
        ``"cqr"`` or ``"split"``.

    Returns
    -------
    Calibration

    Raises
    ------
    OptionError
        ``option.invalid`` for another method; ``option.quantile_level`` if a level is missing.
    """
    if method not in METHODS:
        raise OptionError(
            f"calibration must be one of {', '.join(map(repr, METHODS))}, got {method!r}.", code="option.invalid"
        )
    windows = result.windows
    order = np.argsort(windows.levels)
    levels, (target, item, window) = windows.levels[order], windows.where
    quantiles = windows.quantiles[target, item, window][..., order]
    actual = windows.actual[target, item, window]
    unit = _unit(quantiles, levels)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        residuals = (actual[..., None] - _base(quantiles, levels, method)) / np.where(unit > 0, unit, np.nan)
    return Calibration(
        method,
        levels,
        shifts_of(residuals, levels),
        Dependence.fit(normal_scores(actual, Forecast(quantiles, levels))),
        int(np.isfinite(residuals[..., 0]).sum()),
    )


def calibrate_backtest(result: BacktestResult, method: str = "cqr", *, windows: int = WINDOWS[0]) -> BacktestResult:
    """Calibrate each window of a backtest on the ones before it, to see what calibration is worth.

    Parameters
    ----------
    result
        Backtest of an uncalibrated forecaster, windows at least F + gap points apart so that nothing is known too soon.
    method
        ``"cqr"`` or ``"split"``.
    windows
        How many earlier windows each is calibrated on.

    Returns
    -------
    BacktestResult
        Of all windows but the first `windows`, with calibrated bands and medians.

    Raises
    ------
    OptionError
        ``option.invalid`` if there are not more windows than that, or they overlap; and those of `fit_calibration`.
    """
    numbers = result.windows
    total = numbers.cuts.shape[1]
    stride = np.diff(numbers.cuts, axis=1)[(numbers.cuts[:, :-1] >= 0) & (numbers.cuts[:, 1:] >= 0)]
    if total <= windows or (stride < numbers.median.shape[-1] + numbers.gap).any():
        raise OptionError(
            f"calibrating needs more than {windows} windows that do not overlap, got {total}.", code="option.invalid"
        )
    order = np.argsort(numbers.levels)
    quantiles, median = numbers.quantiles.copy(), numbers.median.copy()
    for window in range(windows, total):
        calibration = fit_calibration(result.select(range(window - windows, window)), method)
        raw = quantiles[:, :, window][..., order]
        applied = calibration.apply(Forecast(raw, numbers.levels[order]))
        quantiles[:, :, window] = applied.quantiles[..., np.argsort(order)]
        median[:, :, window] = applied.median
    calibrated = BacktestResult(replace(numbers, quantiles=quantiles, median=median))
    return calibrated.select(range(windows, total))


def shifts_of(residuals: FloatArray, levels: FloatArray) -> FloatArray:
    """Conformal quantiles (F, Q) of residuals (K, F, Q), step by step; few residuals are pooled with neighbours'.

    A level without any usable residual gets 0.
    """
    horizon = residuals.shape[1]
    counts = np.isfinite(residuals[..., 0]).sum(0)
    shifts = np.zeros(residuals.shape[1:])
    for step in range(horizon):
        reach = 0
        while counts[max(step - reach, 0) : step + reach + 1].sum() < RESIDUALS_WANTED and reach < horizon:
            reach += 1
        pool = residuals[:, max(step - reach, 0) : step + reach + 1]
        for place, level in enumerate(levels):
            shifts[step, place] = conformal_quantile(pool[..., place], float(level))
    return shifts


def conformal_quantile(residuals: FloatArray, level: float) -> float:
    """Quantile of residuals with the correction for their number; missing ones are left out, 0 if there are none.

    Of n residuals the one with rank ceil((n + 1) level) above the median, floor((n + 1) level) below it, so that a
    new residual is at or below (above) it with at least the probability asked for.
    """
    known = np.sort(residuals[np.isfinite(residuals)])
    if not len(known):
        return 0.0
    place = (len(known) + 1) * level - 1
    if abs(level - 0.5) < 1e-9:
        return float(np.median(known))
    rounded = np.ceil(place - 1e-9) if level > 0.5 else np.floor(place + 1e-9)
    return float(known[int(np.clip(rounded, 0, len(known) - 1))])


def calibrate_forecaster(forecaster: Any, df: Any, method: str) -> Calibration:
    """Backtest an uncalibrated copy of a forecaster on the ends of `df`, its history, and learn the corrections.

    Windows do not overlap, the more of them the fewer items there are. A forecaster that trains in `fit` does so once,
    before the first of them. The effect of covariates is learned at each, from what is known there: before the first
    there may be next to nothing to learn it from.

    Raises
    ------
    FrameError
        ``backtest.too_short`` if no item has a window.
    """
    raw = clone(forecaster).set_params(calibrate=False, constraints=None)
    num_items = forecaster.panel_.num_items // len(target_names(raw.target))
    windows = int(np.clip(-(-RESIDUALS_WANTED // num_items), *WINDOWS))
    levels = sorted({*DECILES, *(round(float(level), 12) for level in validate_levels(raw.quantile_levels))})
    with quiet():  # fit has given the warnings of this frame
        calibration = fit_calibration(backtest(raw, df, windows=windows, quantile_levels=levels), method)
    if calibration.num_residuals < RESIDUALS_TRUSTED:
        warn(f"calibration rests on {calibration.num_residuals} points only; more history or more items would help")
    return calibration


def normal_scores(actual: FloatArray, forecast: Forecast) -> FloatArray:
    """Where values (K, F) lie in their forecast's law, as standard normal scores; NaN where that cannot be said.

    Between known levels the score is linear in the value, as in `Forecast.at`; beyond them it is that of the outermost
    piece, within four deviations.
    """
    known, quantiles = ndtri(forecast.levels), forecast.quantiles
    place = np.clip((actual[..., None] >= quantiles).sum(-1) - 1, 0, len(known) - 2)
    low = np.take_along_axis(quantiles, place[..., None], -1)[..., 0]
    high = np.take_along_axis(quantiles, place[..., None] + 1, -1)[..., 0]
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        share = (actual - low) / np.where(high > low, high - low, np.nan)
    scores: FloatArray = np.clip(known[place] + share * (known[place + 1] - known[place]), -4.0, 4.0)
    return scores


def _base(quantiles: FloatArray, levels: FloatArray, method: str) -> FloatArray:
    """What is corrected: the quantiles themselves, or the median at every level."""
    return quantiles if method == "cqr" else np.repeat(_at(quantiles, levels, 0.5), len(levels), -1)


def _unit(quantiles: FloatArray, levels: FloatArray) -> FloatArray:
    """(..., 1, 1) mean width of the 80 % band over the horizon."""
    with np.errstate(over="ignore"):
        width = np.minimum(_at(quantiles, levels, 0.9) - _at(quantiles, levels, 0.1), LARGEST)
    unit: FloatArray = (width / width.shape[-2]).sum(-2, keepdims=True)
    return unit


def _at(quantiles: FloatArray, levels: Sequence[float] | FloatArray, level: float) -> FloatArray:
    """(..., 1) quantile at a known level."""
    place = int(np.argmin(np.abs(np.asarray(levels) - level)))
    if abs(levels[place] - level) > 1e-9:
        raise OptionError(
            f"calibration needs the level {level}.", code="option.quantile_level", hint="Ask for 0.1, 0.5 and 0.9."
        )
    return quantiles[..., place : place + 1]
