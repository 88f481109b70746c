"""Hierarchies: forecasts of totals and parts that add up.

A summing matrix S (I, B) says which of B bottom series each of I series is the sum of. Every method here is a linear
map ``S P``: it takes the base forecasts to bottom ones (P), and adds those up. Numbers agree with those of the library
`hierarchicalforecast` (``tests/unit/test_hierarchy.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tsar.errors import OptionError
from tsar.types import FloatArray

METHODS = ("bottom_up", "ols", "wls_struct", "mint_shrink")
STEADY = 1e-12
"""Errors vary if their range is a larger share of their size than this, which rounding is not."""

TRUST = 1e-6
"""Variance of a series whose errors do not vary, as a share of the smallest of the others."""


def summing_matrix(parents: Mapping[Any, Sequence[Any]], item_ids: Sequence[Any]) -> FloatArray:
    """Make S (I, B) from who is the sum of whom.

    Parameters
    ----------
    parents
        Each total's id and the ids of its parts, which may be totals themselves.
    item_ids
        (I,) all series; those that are nobody's total are the bottom ones, their columns in this order.

    Raises
    ------
    OptionError
        ``option.invalid`` for a part that is not among the items, or a total that is its own part.
    """
    bottom = [item_id for item_id in item_ids if item_id not in parents]
    place = {item_id: column for column, item_id in enumerate(bottom)}
    rows: dict[Any, FloatArray] = {}

    def row_of(item_id: Any, above: tuple[Any, ...]) -> FloatArray:
        if item_id in rows:
            return rows[item_id]
        row = np.zeros(len(bottom))
        if item_id in place:
            row[place[item_id]] = 1.0
        elif item_id in above or item_id not in parents:
            problem = "is its own part" if item_id in above else "is not among the items"
            raise OptionError(f"{item_id!r} of the hierarchy {problem}.", code="option.invalid", item_ids=[item_id])
        else:
            for part in parents[item_id]:
                row += row_of(part, (*above, item_id))
        rows[item_id] = row
        return row

    return np.stack([row_of(item_id, ()) for item_id in item_ids])


def reconcile(
    forecast: FloatArray, summing: FloatArray, *, method: str = "mint_shrink", residuals: FloatArray | None = None
) -> FloatArray:
    """Make forecasts add up.

    Parameters
    ----------
    forecast
        (I, ...) of all series, along the first axis in the order of the rows of `summing`: medians (I, F), or sample
        paths (I, S, F), which then add up path by path.
    summing
        (I, B) from `summing_matrix`.
    method
        ``"bottom_up"``: add up the bottom forecasts. ``"ols"``, ``"wls_struct"``: the closest coherent ones, all
        series weighted alike or by their number of parts. ``"mint_shrink"``: the coherent ones of least variance
        (minimum trace, Wickramasuriya, Athanasopoulos & Hyndman, 2019), the covariance of the errors shrunk towards
        its diagonal (Schäfer & Strimmer, 2005).
    residuals
        (I, T) one-step errors of the base forecasts, for ``"mint_shrink"``; columns with a missing value are left out.

    Returns
    -------
    ndarray
        As `forecast`; coherent up to rounding: ``out == summing @ out[bottom]``.

    Raises
    ------
    OptionError
        ``option.invalid`` for an unknown method, shapes that do not fit, fewer than two usable residuals, or a bottom
        series that has no row of its own.
    """
    if method not in METHODS:
        raise OptionError(f"method must be one of {', '.join(METHODS)}, got {method!r}.", code="option.invalid")
    if summing.ndim != 2 or len(forecast) != len(summing):
        raise OptionError(
            f"the forecast has {len(forecast)} series, the hierarchy {summing.shape}.", code="option.invalid"
        )
    flat = np.asarray(forecast, dtype=np.float64).reshape(len(forecast), -1)
    if method == "bottom_up":
        bottom = flat[bottom_rows(summing)]
    elif method == "ols":
        bottom = _project(flat, summing, np.eye(len(summing)))
    elif method == "wls_struct":
        bottom = _project(flat, summing, np.diag(summing.sum(1)))
    else:
        bottom = _project(flat, summing, _trusted_covariance(_usable(residuals, len(summing))))
    result: FloatArray = (summing @ bottom).reshape(np.shape(forecast))
    return result


def bottom_rows(summing: FloatArray) -> list[int]:
    """Rows of the bottom series, in the order of the columns; errors as in `reconcile`."""
    rows = []
    for column in np.eye(summing.shape[1]):
        found = np.flatnonzero((summing == column).all(1))
        if not len(found):
            raise OptionError("a bottom series has no row of its own.", code="option.invalid")
        rows.append(int(found[-1]))
    return rows


def shrunk_covariance(residuals: FloatArray) -> FloatArray:
    """Covariance (I, I) of errors (I, T), its correlations shrunk towards 0 by the amount of Schäfer & Strimmer."""
    num_points = residuals.shape[1]
    centred = residuals - residuals.mean(1, keepdims=True)
    covariance = centred @ centred.T / (num_points - 1)
    size = np.sqrt(np.maximum(np.diagonal(covariance), 1e-300))
    scaled = centred / size[:, None]
    squared = scaled**2  # of the products over the points: the sum of squares, less that of their mean
    spread = np.maximum(squared @ squared.T - (scaled @ scaled.T) ** 2 / num_points, 0.0)
    variance = spread * num_points / (num_points - 1) ** 3
    correlation = covariance / np.outer(size, size)
    off = ~np.eye(len(residuals), dtype=bool)
    amount = np.clip(variance[off].sum() / max((correlation[off] ** 2).sum(), 1e-300), 0.0, 1.0)
    shrunk: FloatArray = np.where(off, (1 - amount) * covariance, covariance).astype(np.float64)
    return shrunk


def _trusted_covariance(residuals: FloatArray) -> FloatArray:
    """As `shrunk_covariance`, of errors (I, T) of any size; a series whose errors never vary is trusted most of all."""
    unit = np.ldexp(1.0, -int(np.frexp(np.abs(residuals).max())[1]))  # a power of two: only the ratios count
    covariance = shrunk_covariance(residuals * unit)
    varies = np.ptp(residuals, axis=1) > STEADY * np.abs(residuals).max(1)
    least = TRUST * np.diagonal(covariance)[varies].min() if varies.any() else 1.0
    known = np.where(varies[:, None] & varies, covariance, 0.0)
    trusted: FloatArray = known + np.diag(np.where(varies, 0.0, least))
    return trusted


def _project(forecast: FloatArray, summing: FloatArray, covariance: FloatArray) -> FloatArray:
    """Bottom forecasts by generalised least squares."""
    weighted = np.linalg.solve(covariance, summing)
    return np.linalg.solve(summing.T @ weighted, weighted.T @ forecast).astype(np.float64)


def _usable(residuals: FloatArray | None, num_items: int) -> FloatArray:
    usable: FloatArray = np.empty((num_items, 0)) if residuals is None else np.asarray(residuals, dtype=np.float64)
    usable = usable[:, np.isfinite(usable).all(0)] if usable.ndim == 2 else usable
    if usable.ndim != 2 or len(usable) != num_items or usable.shape[1] < 2:
        raise OptionError(
            "mint_shrink needs residuals (I, T) with at least two complete columns.",
            code="option.invalid",
            hint="Take errors of a backtest, or method='wls_struct'.",
        )
    return usable
