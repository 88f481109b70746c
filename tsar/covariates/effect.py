"""Learn, guard and apply the effect of covariates on the forecast of a model that reads the target alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from tsar.covariates.features import FORMS, Units, make_rows, measure_units
from tsar.covariates.regression import POOLING, Ridge, Trees, fit_boosting, fit_ridge
from tsar.covariates.surprise import MAX_ITEMS, Backtests, find_leads, make_backtests, shift_by_lead
from tsar.frame import CALENDAR, Covariates
from tsar.types import BoolArray, Decode, FloatArray, IntArray

METHODS = ("auto", "ridge", "gradient_boosting")
WEIGHTS = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
PRIOR_WINDOWS = 5.0
"""Windows of all items together that count as much as one item's own when its weight is chosen."""

NOISE = 2.0
"""A gain is believed if it is this many standard errors above zero."""

NARROWEST = 0.4
"""Smallest factor of the spread."""

LEAST_ROWS_FOR_TREES = 400


@dataclass(frozen=True, kw_only=True, eq=False)
class CovariateEffect:
    """What the covariates do to the forecast.

    Attributes
    ----------
    names : tuple of str
        (C,) encoded covariates.
    columns : tuple of str
        (C,) the columns that they came from.
    kept : (C,) bool
        Those that are used; all False if the guard found no gain.
    leads : (C,) float64
        Steps that each is known ahead: inf for future covariates, the lead found for past ones, 0 for none.
    method : str
        ``"ridge"``, ``"gradient_boosting"`` or ``"none"``.
    gain : float
        Share of the absolute error that the covariates took off on later backtests of the history, beyond a bias of
        the model that shows without them.
    importance : (C,) float64
        How much of the gain is lost without each covariate; NaN where it was not asked.
    item_weights : (I,) float64
        How far each item's forecast follows, 0 … 1.
    spread : float
        Factor of the distance of the quantiles from the median.
    """

    names: tuple[str, ...]
    columns: tuple[str, ...]
    kept: BoolArray
    leads: FloatArray
    method: str
    gain: float
    importance: FloatArray
    item_weights: FloatArray
    spread: float
    units: Units
    item_places: IntArray
    form: str
    predict: Ridge | Trees | None

    @property
    def dropped(self) -> tuple[str, ...]:
        """Columns that are not used, without those of the calendar as long as something is."""
        columns = dict.fromkeys(column for column, kept in zip(self.columns, self.kept, strict=True) if not kept)
        is_used = self.method != "none"
        return tuple(column for column in columns if not (is_used and column.startswith(CALENDAR)))


def learn_effect(
    decode: Decode,
    values: FloatArray,
    offsets: IntArray,
    covariates: Covariates,
    prediction_length: int,
    *,
    levels: FloatArray,
    context_length: int,
    season_length: int,
    method: str = "auto",
    seed: int = 0,
    forecast: Decode | None = None,
    noise: float = NOISE,
) -> CovariateEffect:
    """Learn from rolling backtests how surprises in the covariates explain the model's errors.

    Parameters
    ----------
    decode
        The forecaster, of target and covariates alike.
    values, offsets
        The panel, (N,) and (I + 1,).
    covariates
        In step with the values; NaN where missing, which counts as no surprise.
    levels
        (Q,) of the quantiles that `decode` gives.
    prediction_length, context_length, season_length
        F, and the points that the model reads; the season helps to find the lead of past covariates.
    method
        ``"ridge"``, ``"gradient_boosting"``, ``"auto"``: the better on later backtests.
    seed
        For sampling items and rows.
    forecast
        How the target is forecast, where more than `decode` goes into it.
    noise
        Standard errors above zero at which a gain is believed: more where many covariates are tried that nobody chose.

    Notes
    -----
    The guard: fitted on earlier backtests, the effect must lower the error on later ones by more than its noise;
    covariates that do not help are left out, and each item follows as far as it pays there. What stays is fitted again
    to all backtests.
    """
    num_items = len(offsets) - 1
    leads, shifted, _ = _align(values, offsets, covariates, season_length)
    none = _no_effect(covariates, leads, num_items)
    chosen = np.arange(num_items)
    if num_items > MAX_ITEMS:
        chosen = np.sort(np.random.default_rng(seed).choice(num_items, MAX_ITEMS, replace=False))
    tests = make_backtests(decode, values, offsets, shifted, leads, prediction_length, context_length, chosen, forecast)
    if tests is None or not len(covariates.names) + len(covariates.static_names):
        return none
    units = measure_units(tests, values, offsets)
    places = np.full(num_items, -1)
    present = np.unique(tests.items)
    places[present] = np.arange(len(present))
    target = tests.errors / units.error[tests.items, None]
    usable = np.array([lead > 0 for lead in leads], dtype=bool)
    before = _mean_error(target, np.zeros_like(target), tests.fold > 0)
    if not np.isfinite(before) or before == 0:
        return none

    def explain(form: str, pooling: float, kept: BoolArray) -> tuple[float, FloatArray]:
        explained = _explain_late(tests, target, places, form, pooling, kept, covariates, units, seed)
        return _mean_error(target, explained, tests.fold > 0), explained

    candidates = _candidates(method, int(np.isfinite(target[tests.fold == 0]).sum()))
    form, pooling = min(candidates, key=lambda candidate: explain(candidate[0], candidate[1], usable)[0])
    kept, importance = _drop_useless(partial(explain, form, pooling), usable, covariates.columns)
    importance /= before
    explained = explain(form, pooling, kept)[1]
    # trees find a bias of the model without covariates, too: what they gain by that is not the covariates'
    bare = replace(covariates, static=np.empty((0, num_items)))
    bias = _explain_late(tests, target, places, form, pooling, np.zeros_like(usable), bare, units, seed)
    weights, gain = _choose_weights(target, explained, bias, tests, num_items, noise)
    weights = np.where(_varies(values, offsets), weights, 0.0)  # a constant has no unit in which to be moved
    if not weights.any():
        return none
    late = tests.fold > 0
    shift = weights[tests.items, None] * explained * units.error[tests.items, None]
    rows = make_rows(tests, target, places, form, kept, covariates, units)
    return CovariateEffect(
        names=covariates.names,
        columns=covariates.columns,
        kept=kept,
        leads=leads,
        method="gradient_boosting" if form == "trees" else "ridge",
        gain=gain,
        importance=importance,
        item_weights=weights,
        spread=_choose_spread(tests.quantiles[late], levels, tests.errors[late], shift[late]),
        units=units,
        item_places=places,
        form=form,
        predict=fit_boosting(rows, seed) if form == "trees" else fit_ridge(rows, len(present), pooling),
    )


def apply_effect(
    effect: CovariateEffect,
    quantiles: FloatArray,
    decode: Decode,
    values: FloatArray,
    offsets: IntArray,
    covariates: Covariates,
    future: FloatArray,
) -> FloatArray:
    """Move the quantiles (I, F, Q) by what the covariates ahead, (C, I, F), hold beyond expectation."""
    if effect.predict is None or not effect.item_weights.any():
        return quantiles
    num_items, horizon, num_levels = quantiles.shape
    _, shifted, ahead = _align(values, offsets, covariates, 1, effect.leads)
    values_ahead = np.full((num_items, horizon, len(shifted)), np.nan)
    expected = np.full_like(values_ahead, np.nan)
    for number in np.flatnonzero(effect.kept):
        if number < covariates.num_past:
            steps = min(horizon, int(effect.leads[number]))
            values_ahead[:, :steps, number] = ahead[number][:, :steps]
        else:
            values_ahead[..., number] = future[number - covariates.num_past]
        expected[..., number] = decode(shifted[number], offsets, horizon)[..., num_levels // 2]
    tests = Backtests(
        items=np.arange(num_items),
        fold=np.ones(num_items, dtype=np.int64),
        errors=np.zeros((num_items, horizon)),
        quantiles=quantiles,
        known=values_ahead,
        expected=expected,
    )
    rows = make_rows(
        tests, tests.errors, effect.item_places, effect.form, effect.kept, covariates, effect.units
    )  # fmt: skip
    shift = effect.predict(rows.items, rows.features) * (effect.item_weights * effect.units.error)[:, None]
    middle = quantiles[..., num_levels // 2, None]
    spread = np.where(effect.item_weights > 0, 1 - effect.item_weights * (1 - effect.spread), 1.0)[:, None, None]
    moved: FloatArray = middle + (quantiles - middle) * spread + np.nan_to_num(shift)[..., None]
    return moved


def _align(
    values: FloatArray, offsets: IntArray, covariates: Covariates, season_length: int, leads: FloatArray | None = None
) -> tuple[FloatArray, FloatArray, list[FloatArray]]:
    """Leads (C,), covariates delayed by them (C, N), and what is known ahead of the past ones."""
    num_past = covariates.num_past
    if leads is None:
        found = find_leads(values, offsets, covariates.values[:num_past], season_length)
        leads = np.concatenate([found, np.full(len(covariates.values) - num_past, np.inf)])
    shifted, ahead = covariates.values.copy(), []
    for number in range(num_past):
        shifted[number], known = shift_by_lead(covariates.values[number], offsets, int(leads[number]))
        ahead.append(known)
    return leads, shifted, ahead


def _candidates(method: str, num_rows: int) -> list[tuple[str, float]]:
    """Forms of the regression and how strongly items are pooled."""
    ridge = [(form, pooling) for form in FORMS[:3] for pooling in POOLING]
    trees = [("trees", np.inf)]
    if method == "ridge":
        return ridge
    if method == "gradient_boosting":
        return trees
    return ridge + (trees if num_rows >= LEAST_ROWS_FOR_TREES else [])


def _drop_useless(
    explain: Callable[[BoolArray], tuple[float, FloatArray]], kept: BoolArray, columns: tuple[str, ...]
) -> tuple[BoolArray, FloatArray]:
    """Leave covariates out, all indicators of a column together, as long as that lowers the error of later backtests.

    Returns those kept (C,), and by how much the error grew without each when it was last left out (C,).
    """
    groups = np.array(columns)
    importance = np.full(len(columns), np.nan)
    error = explain(kept)[0]
    while kept.any():
        without = {group: explain(kept & (groups != group))[0] for group in dict.fromkeys(groups[kept])}
        for group, other in without.items():
            importance[groups == group] = other - error
        worst = min(without, key=lambda group: without[group])
        if without[worst] > error:
            break
        error, kept = without[worst], kept & (groups != worst)
    return kept, importance


def _explain_late(
    tests: Backtests, target: FloatArray, places: IntArray, form: str, pooling: float, kept: BoolArray,
    covariates: Covariates, units: Units, seed: int,
) -> FloatArray:  # fmt: skip
    """Explained errors (W, F) of folds 1 and 2, each by a regression on the folds before it; 0 in fold 0."""
    rows = make_rows(tests, target, places, form, kept, covariates, units)
    explained = np.zeros_like(target)
    for fold in (1, 2):
        early, late = rows.take(tests.fold < fold), tests.fold == fold
        if late.any() and rows.features.shape[-1] and np.isfinite(early.target).any():
            predict = fit_boosting(early, seed) if form == "trees" else fit_ridge(early, int(places.max()) + 1, pooling)
            explained[late] = predict(rows.items[late], rows.features[late])
    return explained


def _varies(values: FloatArray, offsets: IntArray) -> BoolArray:
    """(I,) whether an item has two different values."""
    return np.array([len(np.unique(part[np.isfinite(part)])) > 1 for part in np.split(values, offsets[1:-1])])


def _mean_error(target: FloatArray, explained: FloatArray, windows: BoolArray) -> float:
    rest = np.abs(target - explained)[windows]
    observed = np.isfinite(rest)
    return float(rest[observed].mean()) if observed.any() else np.inf


def _choose_weights(
    target: FloatArray, explained: FloatArray, bias: FloatArray, tests: Backtests, num_items: int, least: float
) -> tuple[FloatArray, float]:
    """Weight of each item (I,), shrunk toward the common one, and the gain over what is explained without covariates.

    All are zero if the gain is less than `least` standard errors.
    """
    late = (tests.fold > 0) & np.isfinite(target).any(1)
    if not late.any():
        return np.zeros(num_items), 0.0
    errors = _window_errors(target[late][..., None] - explained[late][..., None] * WEIGHTS)
    mean = errors.mean(0)
    best = int(mean.argmin())
    gains = _window_errors((target - bias)[late][..., None])[:, 0] - errors[:, best]
    noise = gains.std(ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else np.inf
    if best == 0 or gains.mean() <= least * noise:
        return np.zeros(num_items), 0.0
    sums, counts = np.zeros((num_items, len(WEIGHTS))), np.zeros((num_items, 1))
    np.add.at(sums, tests.items[late], errors)
    np.add.at(counts, tests.items[late], 1.0)
    pooled = (sums + PRIOR_WINDOWS * mean) / (counts + PRIOR_WINDOWS)
    return WEIGHTS[pooled.argmin(1)], float(gains.mean() / mean[0])


def _window_errors(rest: FloatArray) -> FloatArray:
    """Mean absolute error (W, K) of what is left (W, F, K) over the observed steps."""
    observed = np.isfinite(rest)
    errors: FloatArray = np.where(observed, np.abs(rest), 0.0).sum(1) / np.maximum(observed.sum(1), 1)
    return errors


def _choose_spread(quantiles: FloatArray, levels: FloatArray, errors: FloatArray, shift: FloatArray) -> float:
    """Factor of the spread with the least pinball loss on later windows, once the median is moved."""
    widths = quantiles - quantiles[..., quantiles.shape[-1] // 2, None]
    factors = np.linspace(NARROWEST, 1.0, 7)
    losses = []
    for factor in factors:
        missed = (errors - shift)[..., None] - factor * widths
        losses.append(np.nanmean(np.maximum(levels * missed, (levels - 1) * missed)))
    return float(factors[int(np.argmin(losses))])


def _no_effect(covariates: Covariates, leads: FloatArray, num_items: int) -> CovariateEffect:
    names = covariates.names
    return CovariateEffect(
        names=names, columns=covariates.columns, kept=np.zeros(len(names), dtype=bool), leads=leads, method="none",
        gain=0.0, importance=np.full(len(names), np.nan), item_weights=np.zeros(num_items), spread=1.0,
        units=Units(np.ones(num_items), np.ones(num_items), np.ones(len(names)), np.zeros((3, len(names)))),
        item_places=np.full(num_items, -1),
        form="none", predict=None,
    )  # fmt: skip
