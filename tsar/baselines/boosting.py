"""Gradient boosting on lags: one model for all series and all steps, as it wins competitions."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from tsar.baselines.base import DEFAULT_LEVELS, Baseline
from tsar.errors import MissingDependencyError, OptionError
from tsar.frame import Panel
from tsar.refining.classical import fill_gaps
from tsar.types import FloatArray, IntArray

RECENT_LAGS = 12
SEASONS = 3
MOST_ROWS = 8_000
HELD_BACK = 0.2
"""Share of the origins, the latest, from whose errors the bands are taken."""

ENGINES = ("auto", "lightgbm", "sklearn")


class BoostedLags(Baseline):
    """Boosted trees on lags, direct: the step ahead is a feature, so one model answers every step.

    Features of an origin and step h: the last values, the values one to three seasons before the step, means of the
    last season and the one before, and h, all relative to the level and spread of the last seasons of the series. Bands
    come from errors at held-back origins, step by step.

    Parameters
    ----------
    engine
        ``"lightgbm"``, ``"sklearn"`` (histogram gradient boosting), or ``"auto"``: the first if it is installed.
    random_state
        Of the draw of training rows, and of the trees.
    prediction_length, quantile_levels, season_length, freq, id_column, timestamp_column, target
        As in `tsar.baselines.base.Baseline`.

    Attributes
    ----------
    model_ : estimator
        The fitted trees, for the horizon `horizon_`.
    errors_ : (K, F) float64
        Errors at held-back origins, in units of the spread.
    """

    def __init__(
        self,
        *,
        engine: str = "auto",
        random_state: int | None = None,
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
        self.engine = engine
        self.random_state = random_state

    def _validate(self) -> None:
        super()._validate()
        if self.engine not in ENGINES:
            raise OptionError(
                f"engine must be one of {', '.join(ENGINES)}, got {self.engine!r}.", code="option.invalid"
            )

    def _learn(self, panel: Panel) -> None:
        self.horizon_ = self._horizon(panel, None)
        self.model_, self.errors_ = self._fit_trees(panel, self.horizon_)

    def _forecast_panel(self, panel: Panel, horizon: int, levels: FloatArray) -> FloatArray:
        model, errors = (self.model_, self.errors_) if horizon <= self.horizon_ else self._fit_trees(panel, horizon)
        season = self._season(panel)
        result = np.full((panel.num_items, horizon, len(levels)), np.nan)
        for item, past in enumerate(np.split(panel.values, panel.offsets[1:-1])):
            history = fill_gaps(past)
            if not len(history):
                continue
            loc, unit = _loc_and_unit(history, season)
            features = _features((history - loc) / unit, np.array([len(history)]), horizon, season)
            centre = history[-1] - loc if model is None else model.predict(features) * unit
            spread = np.quantile(errors[:, :horizon], levels, axis=0).T if len(errors) else np.zeros((horizon, 1))
            result[item] = loc + np.broadcast_to(centre, horizon)[:, None] + unit * spread
        return result

    def _fit_trees(self, panel: Panel, horizon: int) -> tuple[Any, FloatArray]:
        """Trees, or None where no history is longer than the horizon, and errors (K, F) at held-back origins."""
        season = self._season(panel)
        histories = [fill_gaps(past) for past in np.split(panel.values, panel.offsets[1:-1])]
        usable = [history for history in histories if len(history) > horizon + 1]
        if not usable:
            return None, np.empty((0, horizon))
        per_series = max(MOST_ROWS // (horizon * len(usable)), 2)
        parts = [_training_rows(history, horizon, season, per_series) for history in usable]
        held = [np.arange(len(part[1])) >= max(int(len(part[1]) * (1 - HELD_BACK)), 1) for part in parts]
        early = [(part[0][~late], part[1][~late]) for part, late in zip(parts, held, strict=True)]
        late = [(part[0][late], part[1][late]) for part, late in zip(parts, held, strict=True)]
        first = self._train(early, horizon)
        features, targets = _joined(late, horizon)
        errors = targets - first.predict(features).reshape(-1, horizon) if len(targets) else np.empty((0, horizon))
        return self._train(parts, horizon), errors

    def _train(self, parts: Sequence[tuple[FloatArray, FloatArray]], horizon: int) -> Any:
        features, targets = _joined(parts, horizon)
        return self._make_trees(len(targets) * horizon).fit(features, targets.ravel())

    def _make_trees(self, num_rows: int) -> Any:
        installed = find_spec("lightgbm") is not None
        if self.engine == "lightgbm" and not installed:
            raise MissingDependencyError(
                "BoostedLags(engine='lightgbm') needs lightgbm.",
                code="dependency.missing",
                hint="pip install 'tsar-forecast[boosting]'",
            )
        seed = 0 if self.random_state is None else int(self.random_state)
        least = int(np.clip(num_rows // 100, 5, 20))
        if installed and self.engine != "sklearn":
            from lightgbm import LGBMRegressor

            return LGBMRegressor(
                objective="l1", n_estimators=100, learning_rate=0.07, num_leaves=31, min_child_samples=least,
                random_state=seed, n_jobs=1, verbose=-1,
            )  # fmt: skip
        from sklearn.ensemble import HistGradientBoostingRegressor

        return HistGradientBoostingRegressor(
            loss="absolute_error", max_iter=100, learning_rate=0.07, min_samples_leaf=least, random_state=seed,
            early_stopping=False,
        )  # fmt: skip


def _loc_and_unit(history: FloatArray, season: int) -> tuple[float, float]:
    recent = history[-max(2 * season, RECENT_LAGS) :]
    return float(recent.mean()), float(recent.std()) or 1.0


def _features(series: FloatArray, origins: IntArray, horizon: int, season: int) -> FloatArray:
    """(K F, features) of K origins (points known) of one scaled series; places before its beginning are NaN."""

    def at(places: IntArray) -> FloatArray:
        return np.where(places >= 0, series[np.clip(places, 0, len(series) - 1)], np.nan)

    steps = np.arange(horizon)
    recent = np.repeat(at(origins[:, None] - 1 - np.arange(RECENT_LAGS))[:, None], horizon, 1)
    back = -(-(steps + 1) // season) * season  # whole seasons, so that the place is known
    seasonal = np.stack([at(origins[:, None] + steps - back - turn * season) for turn in range(SEASONS)], -1)
    sums = np.concatenate([[0.0], np.cumsum(series)])
    width = max(season, 4)
    ends = np.stack([origins, np.maximum(origins - width, 0), np.maximum(origins - 2 * width, 0)])
    means = [(sums[ends[k]] - sums[ends[k + 1]]) / np.maximum(ends[k] - ends[k + 1], 1) for k in (0, 1)]
    means_repeated = np.repeat(np.stack(means, -1)[:, None], horizon, 1)
    ahead = np.broadcast_to(steps[None, :, None], (len(origins), horizon, 1))
    joined: FloatArray = np.concatenate([recent, seasonal, means_repeated, ahead], -1)
    return joined.reshape(len(origins) * horizon, -1)


def _training_rows(history: FloatArray, horizon: int, season: int, most: int) -> tuple[FloatArray, FloatArray]:
    """Features (K, F * features) and targets (K, F) of the latest origins of a history, each scaled by its own past."""
    last = len(history) - horizon
    origins = np.unique(np.linspace(max(last // 4, 1), last, min(most, last)).astype(np.int64))
    rows = []
    for origin in origins:
        loc, unit = _loc_and_unit(history[:origin], season)
        scaled = (history - loc) / unit
        rows.append(
            (_features(scaled[:origin], np.array([origin]), horizon, season), scaled[origin : origin + horizon])
        )
    return np.stack([features for features, _ in rows]), np.stack([target for _, target in rows])


def _joined(parts: Sequence[tuple[FloatArray, FloatArray]], horizon: int) -> tuple[FloatArray, FloatArray]:
    features = np.concatenate([part[0] for part in parts])
    return features.reshape(-1, features.shape[-1]), np.concatenate([part[1] for part in parts]).reshape(-1, horizon)
