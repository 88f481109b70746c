"""Explain errors (R rows) by features: ridge with coefficients pooled between items, or gradient boosting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tsar.types import BoolArray, FloatArray, IntArray

POOLING = (1.0, 30.0, 1000.0, np.inf)
"""Strengths of the pull of each item's coefficients toward those of all items."""

RIDGE = 3.0
MAX_ROWS = 50_000
"""Rows that gradient boosting is fitted to; more are sampled."""

CLIP = 25.0
"""Errors beyond this many typical ones count as so many."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Training rows of a regression: (W, F) steps of windows.

    Attributes
    ----------
    items
        (W,) index of the item among those that take part.
    target
        (W, F) error in the item's unit; NaN where not observed.
    features
        (W, F, P).
    """

    items: IntArray
    target: FloatArray
    features: FloatArray

    def take(self, windows: BoolArray) -> Rows:
        """Return some windows."""
        return Rows(items=self.items[windows], target=self.target[windows], features=self.features[windows])


@dataclass(frozen=True, eq=False)
class Ridge:
    """Linear coefficients (I + 1, P), the last row for items that took no part."""

    coefficients: FloatArray

    def __call__(self, items: IntArray, features: FloatArray) -> FloatArray:
        """Explain errors (W, F) by features (W, F, P) of items (W,), -1 where unknown."""
        result: FloatArray = np.einsum("wfp,wp->wf", features, self.coefficients[items])
        return result


@dataclass(frozen=True, eq=False)
class Trees:
    """Gradient boosted trees of scikit-learn."""

    model: Any

    def __call__(self, items: IntArray, features: FloatArray) -> FloatArray:
        """Explain errors as `Ridge` does, all items alike."""
        result: FloatArray = self.model.predict(features.reshape(-1, features.shape[-1])).reshape(features.shape[:2])
        return result


def fit_ridge(rows: Rows, num_items: int, pooling: float) -> Ridge:
    """Fit linear coefficients, those of each item pulled toward the common ones with strength `pooling`."""
    width = rows.features.shape[-1]
    square, product = np.zeros((num_items, width, width)), np.zeros((num_items, width))
    observed = np.isfinite(rows.target)
    target = np.clip(np.where(observed, rows.target, 0.0), -CLIP, CLIP)
    features = rows.features * observed[..., None]
    np.add.at(square, rows.items, np.einsum("wfp,wfq->wpq", features, features))
    np.add.at(product, rows.items, np.einsum("wfp,wf->wp", features, target))
    identity = np.eye(width)
    common = np.linalg.solve(square.sum(0) + RIDGE * identity, product.sum(0))
    coefficients = np.tile(common, (num_items + 1, 1))
    if np.isfinite(pooling):
        coefficients[:-1] += np.linalg.solve(
            square + pooling * identity, (product - np.einsum("ipq,q->ip", square, common))[..., None]
        )[..., 0]
    return Ridge(coefficients)


def fit_boosting(rows: Rows, seed: int) -> Trees:
    """Fit gradient boosted trees to the absolute error, all items together."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    features = rows.features.reshape(-1, rows.features.shape[-1])
    target = rows.target.reshape(-1)
    usable = np.flatnonzero(np.isfinite(target))
    if len(usable) > MAX_ROWS:
        usable = np.sort(np.random.default_rng(seed).choice(usable, MAX_ROWS, replace=False))
    trees: Any = HistGradientBoostingRegressor(
        loss="absolute_error", learning_rate=0.05, max_iter=150, min_samples_leaf=20, random_state=seed
    )
    trees.fit(features[usable], np.clip(target[usable], -CLIP, CLIP))
    return Trees(trees)
