"""Features by which errors are explained, and what they are measured in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from tsar.covariates.regression import Rows
from tsar.covariates.surprise import Backtests
from tsar.frame import Covariates
from tsar.refining.powers import near_one
from tsar.types import BoolArray, FloatArray, IntArray

FORMS = ("linear", "scaled", "curved", "trees")
"""Surprises alone; also in proportion to the level; also bent at the quartiles of the covariate; or trees."""


@dataclass(frozen=True, eq=False)
class Units:
    """What is typical: error (I,) and level (I,) of each item, surprise (C,) and quartiles (3, C) of each covariate."""

    error: FloatArray
    level: FloatArray
    surprise: FloatArray
    knots: FloatArray


def measure_units(tests: Backtests, values: FloatArray, offsets: IntArray) -> Units:
    """Measure errors, levels and surprises; items without a backtest get an error in proportion to their spread."""
    num_items = len(offsets) - 1
    sums, counts = np.zeros(num_items), np.zeros(num_items)
    observed = np.isfinite(tests.errors)
    np.add.at(sums, tests.items, np.where(observed, np.abs(tests.errors), 0.0).sum(1))
    np.add.at(counts, tests.items, observed.sum(1))
    error = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    histories = [values[first:last] for first, last in pairwise(offsets)]
    spread = np.array([_of_known(np.std, history) for history in histories])
    share = _median_or_one(error / np.where(spread > 0, spread, np.nan))
    error = np.where(error > 0, error, share * spread)
    level = np.array([_of_known(np.mean, np.abs(history)) for history in histories])
    surprise = np.abs(tests.surprises).mean((0, 1))
    covariates = tests.known.reshape(tests.errors.size, -1).T  # there may be static ones only
    quartiles = [[_of_known(_quantile(share), covariate) for covariate in covariates] for share in (0.25, 0.5, 0.75)]
    error, level, surprise = (np.where(unit > 0, unit, 1.0) for unit in (error, level, surprise))
    return Units(error, level, surprise, np.reshape(quartiles, (3, len(covariates))))


def _quantile(share: float) -> Callable[[FloatArray], Any]:
    return lambda known: np.quantile(known, share)


def _of_known(statistic: Callable[[FloatArray], Any], series: FloatArray) -> float:
    """A statistic that is proportional to the series; 0 of nothing."""
    known, exponent = near_one(series[np.isfinite(series)])
    return float(np.ldexp(statistic(known), exponent)) if len(known) else 0.0


def _median_or_one(numbers: FloatArray) -> float:
    known = numbers[np.isfinite(numbers) & (numbers > 0)]
    return float(np.median(known)) if len(known) else 1.0


def make_rows(
    tests: Backtests,
    target: FloatArray,
    places: IntArray,
    form: str,
    kept: BoolArray,
    covariates: Covariates,
    units: Units,
) -> Rows:
    """Features of a form (FORMS): differences that surprises make to functions of the covariates."""
    surprises = (tests.surprises / units.surprise)[..., kept]
    middle = tests.quantiles[..., tests.quantiles.shape[-1] // 2]
    relative = np.clip(np.nan_to_num(middle / units.level[tests.items, None]), -4, 4)[..., None]
    parts = [surprises]
    if form in ("scaled", "curved"):
        parts.append(surprises * relative)
    if form == "curved":
        knots = units.knots[:, kept]
        bends = [
            np.maximum(tests.known[..., kept] - knot, 0) - np.maximum(tests.expected[..., kept] - knot, 0)
            for knot in knots
        ]
        parts += [np.nan_to_num(bend / units.surprise[kept]) for bend in bends]
    if form == "trees":
        step = np.broadcast_to(np.arange(1, middle.shape[1] + 1)[:, None], (*middle.shape, 1))
        parts += [relative, tests.known[..., kept], step]
    if len(covariates.static):
        static = np.nan_to_num(_standardised(covariates.static)).T[tests.items]
        parts.append(np.broadcast_to(static[:, None], (*middle.shape, static.shape[-1])))
    return Rows(items=places[tests.items], target=target, features=np.concatenate(parts, -1).astype(np.float64))


def _standardised(static: FloatArray) -> FloatArray:
    known = np.where(np.isfinite(static).any(1, keepdims=True), static, 0.0)  # of no item: nothing to tell them apart
    centred = known - np.nanmean(known, 1, keepdims=True)
    result: FloatArray = centred / np.maximum(np.nanstd(known, 1, keepdims=True), 1e-12)
    return result
