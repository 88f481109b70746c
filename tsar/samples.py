"""Sample paths: draws from the forecast whose steps go together as the errors of a forecast do.

A Gaussian copula over the horizon says which ranks the steps of a path have; the values at these ranks are the
quantiles of the forecast. So the marginal law of every step is that of the forecast exactly, at any number of samples:
S samples are the quantiles at the middles of S equal shares, in the order of the copula (ensemble copula coupling,
Schefzik, Thorarinsdottir & Gneiting, 2013; the Schaake shuffle is its relative that orders by past observations).

The correlation comes from the normal scores of backtest errors, shrunk towards that of a first-order autoregression; it
is the latter alone where there was no backtest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tsar.types import FloatArray
from tsar.validation import validate_count

DEFAULT_LAG = 0.7
"""Correlation of neighbouring steps' errors where no backtest has measured it."""

TRUSTED_WINDOWS = 30.0
"""With so many windows per step of the horizon the measured correlation counts as much as the autoregression."""


@dataclass(frozen=True, eq=False)
class Dependence:
    """How the errors of the steps of a forecast go together.

    Attributes
    ----------
    correlation : (F, F)
        Of the normal scores; positive definite.
    lag : float
        Correlation of neighbouring steps, by which it is continued beyond F.
    """

    correlation: FloatArray
    lag: float

    @classmethod
    def default(cls) -> Dependence:
        """Return the autoregression with `DEFAULT_LAG`."""
        return cls(np.ones((1, 1)), DEFAULT_LAG)

    @classmethod
    def fit(cls, scores: FloatArray, *, trusted: float = TRUSTED_WINDOWS) -> Dependence:
        """Learn from normal scores (K, F) of backtest errors, NaN where missing.

        The weight of the measured correlation is K / (K + `trusted` F), K windows.
        """
        windows, horizon = scores.shape
        known = np.isfinite(scores)
        usable = scores[known]
        centred = np.where(known, scores - (usable.mean() if len(usable) else 0.0), 0.0)
        variance = (centred**2).sum(0) / np.maximum(known.sum(0), 1)
        scaled = centred / np.sqrt(np.where(variance > 0, variance, 1.0))
        pairs = known.astype(float).T @ known.astype(float)
        measured = np.clip(scaled.T @ scaled / np.maximum(pairs, 1), -1.0, 1.0)
        neighbours = np.diagonal(measured, 1)[np.diagonal(pairs, 1) > 2]
        lag = float(np.clip(neighbours.mean(), 0.0, 0.99)) if len(neighbours) else DEFAULT_LAG
        weight = windows / (windows + trusted * horizon)
        mixed = weight * measured + (1 - weight) * autoregressive(lag, horizon)
        return cls(nearest_correlation(mixed), lag)

    def over(self, horizon: int) -> FloatArray:
        """Correlation (F, F) of any horizon: its beginning, or continued as an autoregression."""
        known = len(self.correlation)
        if horizon <= known:
            return self.correlation[:horizon, :horizon]
        result = np.eye(horizon)
        result[:known, :known] = self.correlation
        for step in range(known, horizon):  # each new step follows the one before it
            result[step, :step] = result[:step, step] = self.lag * result[step - 1, :step]
        return result


def autoregressive(lag: float, horizon: int) -> FloatArray:
    """Correlation (F, F) of a first-order autoregression: ``lag`` to the power of the distance."""
    steps = np.arange(horizon)
    result: FloatArray = float(lag) ** np.abs(steps[:, None] - steps)
    return result


def nearest_correlation(matrix: FloatArray) -> FloatArray:
    """A correlation matrix close to a symmetric one: negative eigenvalues are lifted, the diagonal is made 1 again."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    lifted = (vectors * np.maximum(values, 1e-6)) @ vectors.T
    size = np.sqrt(np.diagonal(lifted))
    result: FloatArray = lifted / size[:, None] / size
    return result


class Law(Protocol):
    """What can be asked for quantiles (I, F, Q) at any levels: a `tsar.Forecast`."""

    @property
    def quantiles(self) -> FloatArray:
        """Return (I, F, Q)."""

    def at(self, levels: Sequence[float]) -> FloatArray:
        """Return the quantiles (I, F, len(levels))."""


def sample_paths(
    forecast: Law,
    num_samples: int,
    item_ids: Sequence[Any],
    *,
    dependence: Dependence | None = None,
    random_state: int | None = None,
) -> FloatArray:
    """Draw paths (I, S, F) from a forecast of I items.

    Parameters
    ----------
    forecast
        Quantiles (I, F, Q).
    num_samples
        S.
    item_ids
        (I,) ids. The draws of an item depend on its id and `random_state` alone, so neither other items nor their
        order change them.
    dependence
        How steps go together; None: the default autoregression.
    random_state
        Whole number; None counts as 0.

    Returns
    -------
    ndarray
        (I, S, F); NaN for items without a forecast. The sorted values of a step are the quantiles of the forecast at
        ``(s + 0.5) / S``.

    Raises
    ------
    OptionError
        ``option.invalid`` if `num_samples` is not a whole number from 1.
    """
    validate_count("num_samples", num_samples)
    horizon = forecast.quantiles.shape[1]
    factor = np.linalg.cholesky((dependence or Dependence.default()).over(horizon))
    values = forecast.at(((np.arange(num_samples) + 0.5) / num_samples).tolist())  # (I, F, S)
    paths = np.empty((len(item_ids), num_samples, horizon))
    for place, item_id in enumerate(item_ids):
        normal = item_generator(item_id, random_state).standard_normal((num_samples, horizon)) @ factor.T
        ranks = normal.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable")
        paths[place] = np.take_along_axis(values[place].T, ranks, axis=0)
    return paths


def item_generator(item_id: Any, random_state: int | None = None) -> np.random.Generator:
    """Return the random numbers of one item: a function of its id and the seed, on every machine."""
    plain = item_id.item() if isinstance(item_id, np.generic) else item_id
    digest = hashlib.sha256(f"{0 if random_state is None else int(random_state)}\n{plain!r}".encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))


def sum_paths(paths: FloatArray, every: int) -> FloatArray:
    """Sums (I, S, ceil(F / every)) of runs of `every` steps of paths (I, S, F); the last run may be shorter."""
    starts = np.arange(0, paths.shape[-1], every)
    result: FloatArray = np.add.reduceat(paths, starts, axis=-1)
    return result
