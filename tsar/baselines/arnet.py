"""AR-Net: an autoregression whose coefficients are few, although its order is high."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from tsar.baselines.base import DEFAULT_LEVELS, Baseline
from tsar.errors import OptionError
from tsar.refining.classical import fill_gaps
from tsar.types import FloatArray
from tsar.validation import validate_count

STEEPNESS, POWER = 3.0, 3.0  # c1 and c2 of the paper
ROUNDS = 60
SMALLEST = 1e-4
"""Coefficients below this are zero after a sparse fit."""

MOST_LAGS = 400


@dataclass(frozen=True, eq=False)
class Autoregression:
    """A fitted autoregression ``y[t] = intercept + sum of coefficients[k] * y[t - 1 - k] + noise``.

    Attributes
    ----------
    coefficients : (p,)
        Of lags 1 to p.
    intercept, sigma : float
        Constant term, and deviation of the noise.
    """

    coefficients: FloatArray
    intercept: float
    sigma: float

    def forecast(self, past: FloatArray, horizon: int) -> tuple[FloatArray, FloatArray]:
        """Mean and deviation (F,) of what follows a history (N,) without gaps, N at least p."""
        lags = len(self.coefficients)
        path = np.concatenate([past[len(past) - lags :], np.empty(horizon)])
        weights = np.zeros(horizon + lags)  # of the noise: the moving-average form
        weights[lags] = 1.0
        for step in range(lags, lags + horizon):
            path[step] = self.intercept + self.coefficients @ path[step - lags : step][::-1]
            if step > lags:
                weights[step] = self.coefficients @ weights[step - lags : step][::-1]
        return path[lags:], self.sigma * np.sqrt(np.cumsum(weights[lags:] ** 2))


def fit_autoregression(series: FloatArray, lags: int, sparsity: float = 1.0) -> Autoregression:
    """Fit an autoregression by least squares, sparse if asked.

    Parameters
    ----------
    series
        (N,) without gaps, N > 2 `lags`.
    lags
        Order p.
    sparsity
        Expected share of coefficients that are not zero, in (0, 1]; 1: plain least squares. Smaller is stricter; a
        third of what one expects finds the zeros more surely.

    Returns
    -------
    Autoregression

    Notes
    -----
    AR-Net (Triebe, Laptev & Rajagopal, 2019) is a net without hidden layers, trained by gradient descent on the squared
    error plus ``strength * mean(2 / (1 + exp(-3 |w| ** (1/3))) - 1)``; ``strength`` is ``sqrt(loss) / 100`` times
    ``1 / sparsity - 1``. The same objective is minimised here on the standardised series by majorising its concave
    penalty with quadratics: each round is a weighted ridge regression in closed form, so the fit is deterministic and
    needs no learning rate. Without sparsity it is the least-squares fit (tests compare with statsmodels' AutoReg).
    Coefficients that end below `SMALLEST` are zero, and the others are then fitted without penalty, so that they are
    not biased.
    """
    loc, unit = float(series.mean()), float(series.std()) or 1.0
    scaled = (series - loc) / unit
    windows = np.lib.stride_tricks.sliding_window_view(scaled, lags + 1)
    past, target = windows[:, -2::-1], windows[:, -1]
    design = np.column_stack([np.ones(len(past)), past])
    weights: FloatArray = np.linalg.lstsq(design, target, rcond=None)[0].astype(np.float64)
    if sparsity < 1:
        is_used = np.append(True, np.abs(_shrink(design, target, weights, sparsity)[1:]) > SMALLEST)
        weights = np.zeros(lags + 1)
        weights[is_used] = np.linalg.lstsq(design[:, is_used], target, rcond=None)[0]
    noise = target - design @ weights
    sigma = float(np.sqrt((noise**2).mean())) * unit
    intercept = float(weights[0] * unit + loc * (1 - weights[1:].sum()))
    return Autoregression(weights[1:].copy(), intercept, sigma)


def _shrink(design: FloatArray, target: FloatArray, weights: FloatArray, sparsity: float) -> FloatArray:
    """Weights that minimise the squared error plus the penalty, from the least-squares ones."""
    gram, moment = design.T @ design / len(design), design.T @ target / len(design)
    loss = float(((target - design @ weights) ** 2).mean())
    strength = np.sqrt(loss) / 100 * (1 / sparsity - 1) / (len(weights) - 1)
    for _ in range(ROUNDS):
        size = np.maximum(np.abs(weights), 1e-9)
        decay = np.exp(-STEEPNESS * size ** (1 / POWER))
        slope = 2 * decay / (1 + decay) ** 2 * STEEPNESS / POWER * size ** (1 / POWER - 1)
        ridge = strength * slope / (2 * size)
        ridge[0] = 0.0
        weights = np.linalg.solve(gram + np.diag(ridge), moment)
    return weights


class ARNet(Baseline):
    """Autoregression per series, by least squares, sparse by option.

    Parameters
    ----------
    lags
        Order p; None: two seasons, at least 8, at most a third of the history.
    sparsity
        Expected share of coefficients that are not zero, in (0, 1]; 1: plain least squares.
    prediction_length, quantile_levels, season_length, freq, id_column, timestamp_column, target
        As in `tsar.baselines.base.Baseline`.

    Notes
    -----
    See `fit_autoregression`. Gaps are filled linearly. Histories too short for one lag are continued by their last
    value; forecasts of explosive fits are kept within ten ranges of the history.
    """

    def __init__(
        self,
        *,
        lags: int | None = None,
        sparsity: float = 1.0,
        prediction_length: int | None = None,
        quantile_levels: Sequence[float] = DEFAULT_LEVELS,
        season_length: int | None = None,
        freq: str | int | None = None,
        id_column: str | None = "item_id",
        timestamp_column: str = "timestamp",
        target: str = "target",
    ) -> None:
        super().__init__(
            prediction_length=prediction_length, quantile_levels=quantile_levels, season_length=season_length,
            freq=freq, id_column=id_column, timestamp_column=timestamp_column, target=target,
        )  # fmt: skip
        self.lags = lags
        self.sparsity = sparsity

    def _validate(self) -> None:
        super()._validate()
        if self.lags is not None:
            validate_count("lags", self.lags, instead=", or None")
        if not isinstance(self.sparsity, (int, float)) or not 0 < self.sparsity <= 1:
            raise OptionError(f"sparsity must be above 0 and at most 1, got {self.sparsity!r}.", code="option.invalid")

    def _forecast_one(self, past: FloatArray, horizon: int, season: int, levels: FloatArray) -> FloatArray:
        history = fill_gaps(past)
        if not len(history):
            return np.full((horizon, len(levels)), np.nan)
        wanted = max(2 * season, 8) if self.lags is None else int(self.lags)
        lags = min(wanted, (len(history) - 1) // 3, MOST_LAGS)
        span = np.ptp(history)
        if lags < 1 or span == 0:
            return np.full((horizon, len(levels)), history[-1])
        fitted = fit_autoregression(history, lags, float(self.sparsity))
        with np.errstate(over="ignore", invalid="ignore"):
            mean, deviation = fitted.forecast(history, horizon)
            quantiles = mean[:, None] + deviation[:, None] * ndtri(levels)
        bounded: FloatArray = np.clip(np.nan_to_num(quantiles, nan=history[-1]), history.min() - 10 * span,
                                      history.max() + 10 * span)  # fmt: skip
        return bounded
