"""What a backtest found: forecasts beside what came, scores by any grouping, coverage and sharpness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import narwhals as nw
import numpy as np
import pandas as pd

from tsar.errors import OptionError
from tsar.frame import Panel, quantile_column
from tsar.frame.assemble import to_kind, validate_columns
from tsar.types import FloatArray, IntArray

GROUPS = ("item_id", "target_name", "cutoff", "step")


@dataclass(frozen=True, kw_only=True, eq=False)
class Windows:
    """The numbers of a backtest: C targets, I items, W cutoffs, F steps, Q levels; NaN where there is no window.

    Attributes
    ----------
    panel
        The whole history (of the first target).
    target_names
        (C,).
    cuts
        (I, W) points known at each cutoff; -1 where the item is too short for the window.
    gap
        Points between cutoff and first step.
    levels
        (Q,) in the order asked for.
    season_length
        Lag of the scales.
    actual, median
        (C, I, W, F).
    quantiles
        (C, I, W, F, Q).
    scales
        (C, I, W) seasonal error of the history up to the cutoff, the unit of MASE.
    id_column, timestamp_column
        Names of the first two columns.
    """

    panel: Panel
    target_names: tuple[str, ...]
    cuts: IntArray
    gap: int
    levels: FloatArray
    season_length: int
    actual: FloatArray
    median: FloatArray
    quantiles: FloatArray
    scales: FloatArray
    id_column: str
    timestamp_column: str

    @property
    def where(self) -> tuple[IntArray, IntArray, IntArray]:
        """Target, item and window (K,) of every window there is, item by item and in order of time."""
        item, window = np.nonzero(self.cuts >= 0)
        targets = len(self.target_names)
        target = np.tile(np.arange(targets), len(item))
        return target, np.repeat(item, targets), np.repeat(window, targets)


@dataclass(frozen=True, eq=False)
class BacktestResult:
    """Forecasts from several cutoffs beside what came.

    Attributes
    ----------
    windows : Windows
        The numbers as arrays.
    """

    windows: Windows

    def select(self, windows: Sequence[int]) -> BacktestResult:
        """Return the result of some windows only, by their places (0: the earliest); items keep theirs."""
        numbers, places = self.windows, list(windows)
        return BacktestResult(
            replace(
                numbers,
                cuts=numbers.cuts[:, places],
                scales=numbers.scales[:, :, places],
                **{name: getattr(numbers, name)[:, :, places] for name in ("actual", "median", "quantiles")},
            )
        )

    @cached_property
    def forecasts(self) -> Any:
        """Long frame of the kind that came in.

        A row per item, cutoff (last stamp that was known) and stamp, with the columns id, timestamp, ``target_name``,
        ``cutoff``, ``step`` (from 1), ``actual``, ``predictions`` and one per level; ``option.invalid`` if the id or
        timestamp column has one of these names.
        """
        numbers = self.windows
        first = [numbers.id_column, numbers.timestamp_column, "target_name", "cutoff"]
        names = [quantile_column(level) for level in numbers.levels]
        validate_columns([*first, "step", "actual", "predictions", *names])
        panel, horizon = numbers.panel, numbers.median.shape[-1]
        target, item, window = numbers.where
        known = numbers.cuts[item, window]
        ahead = np.arange(numbers.gap, numbers.gap + horizon)
        step = panel.grid.step
        stamps = panel.grid.stamps((panel.starts[item, None] + (known[:, None] + ahead) * step).ravel())
        cutoffs = self._cutoffs(item, window, horizon)
        table = pd.DataFrame(numbers.quantiles[target, item, window].reshape(-1, len(names)), columns=names)
        table.insert(0, numbers.timestamp_column, stamps)
        table.insert(1, "target_name", np.repeat(np.array(numbers.target_names, dtype=object)[target], horizon))
        table.insert(2, "step", np.tile(ahead + 1, len(item)))
        table.insert(3, "actual", numbers.actual[target, item, window].ravel())
        table.insert(4, "predictions", numbers.median[target, item, window].ravel())
        rows = np.repeat(item, horizon)
        frame = nw.from_native(to_kind(table, numbers.id_column, panel.source, rows), eager_only=True)
        stamped = to_kind(pd.DataFrame({"cutoff": cutoffs}), numbers.id_column, panel.source, rows)
        cutoff = nw.from_native(stamped, eager_only=True)["cutoff"]
        others = [name for name in frame.columns if name not in first]
        return frame.with_columns(cutoff).select([*first, *others]).to_native()

    @property
    def scores(self) -> dict[str, float]:
        """Scores over everything: those of `score_by`, and ``coverage_error``, their mean distance from the levels."""
        row = {str(name): float(value) for name, value in self.score_by().iloc[0].items()}
        shares = [row[f"coverage_{quantile_column(level)}"] for level in self.windows.levels]
        return {**row, "coverage_error": float(np.abs(np.array(shares) - self.windows.levels).mean())}

    def score_by(self, *by: str) -> pd.DataFrame:
        """Scores of groups of forecasts.

        Parameters
        ----------
        by
            Any of ``"item_id"``, ``"target_name"``, ``"cutoff"``, ``"step"``; none: everything together.

        Returns
        -------
        pandas.DataFrame
            A row per group: the columns named, ``points``, ``MASE``, ``WQL``, ``sMAPE`` (definitions of GluonTS, see
            `tsar.metrics`), and per level ``coverage_LEVEL``, the share of what came at or below the quantile. Missing
            actual values count nowhere; items whose history never changes have no MASE.

        Raises
        ------
        OptionError
            ``option.invalid`` for another name, and if two columns would have one name.
        """
        unknown = [name for name in by if name not in GROUPS]
        if unknown:
            raise OptionError(
                f"cannot group by {unknown[0]!r}.", code="option.invalid", hint=f"Known are {', '.join(GROUPS)}."
            )
        points = self._points.assign(everything=0)
        keys = {"item_id": "_item"}
        grouped = points.groupby([keys.get(name, name) for name in by] or ["everything"], sort=False)
        sums, means = grouped.sum(numeric_only=True), grouped.mean(numeric_only=True)
        names = [quantile_column(level) for level in self.windows.levels]
        loss = sums[[f"loss_{name}" for name in names]].mean(axis=1)
        scored = {
            "points": sums["counted"].astype(int),
            "MASE": means["scaled_error"],
            "WQL": loss / sums["size"].where(sums["size"] > 0),
            "sMAPE": means["smape"],
            **{f"coverage_{name}": means[f"below_{name}"] for name in names},
        }
        validate_columns([*(self.windows.id_column if name == "item_id" else name for name in by), *scored])
        table = pd.DataFrame(scored).reset_index()
        if "_item" in table:
            ids = self.windows.panel.item_ids[table.pop("_item").to_numpy()]
            table.insert(by.index("item_id"), self.windows.id_column, ids)
        return table.drop(columns="everything", errors="ignore")

    def coverage_report(self, *, by_step: bool = True) -> pd.DataFrame:
        """How often what came lay inside each central band, and how wide the bands were.

        Parameters
        ----------
        by_step
            Also a row per band and step of the horizon.

        Returns
        -------
        pandas.DataFrame
            ``band`` (nominal share, for example 0.8 for the quantiles 0.1 and 0.9), ``step`` (0: all together),
            ``coverage`` (both ends included), ``randomized`` (coverage of the randomised PIT: where a value lies on
            several equal quantiles, as zeros of the night do on a band that is zero, only the share of their levels
            inside the band counts; Czado, Gneiting & Held, 2009), ``error`` (randomized less band), ``width`` (mean
            width, in units of the seasonal error of each history: the sharpness).

        Raises
        ------
        OptionError
            ``option.quantile_level`` if no two levels lie symmetrically around 0.5.
        """
        numbers = self.windows
        places = {round(float(level), 9): place for place, level in enumerate(numbers.levels)}
        pairs = [(low, round(1 - low, 9)) for low in sorted(places) if low < 0.5 and round(1 - low, 9) in places]
        if not pairs:
            raise OptionError(
                "no two levels make a central band.", code="option.quantile_level", hint="For example 0.1 and 0.9."
            )
        rows = []
        first, last = _levels_reached(numbers.actual, numbers.quantiles, numbers.levels)
        scales = np.where(numbers.scales > 0, numbers.scales, np.nan)[..., None]
        for low, high in pairs:
            lower, upper = numbers.quantiles[..., places[low]], numbers.quantiles[..., places[high]]
            known = np.isfinite(numbers.actual) & np.isfinite(lower)
            inside = np.where(known, (numbers.actual >= lower) & (numbers.actual <= upper), np.nan)
            tied = np.where(known, _share_within(first, last, low, high), np.nan)
            width = (upper - lower) / scales
            steps: list[tuple[int, Any]] = [(0, slice(None))]
            if by_step:
                steps += [(numbers.gap + place + 1, place) for place in range(inside.shape[-1])]
            for step, place in steps:
                share, fair = _mean(inside[..., place]), _mean(tied[..., place])
                band = round(high - low, 9)
                rows.append((band, step, share, fair, fair - band, _mean(width[..., place])))
        return pd.DataFrame(rows, columns=["band", "step", "coverage", "randomized", "error", "width"])

    @cached_property
    def _points(self) -> pd.DataFrame:
        """What every point adds to each score."""
        numbers = self.windows
        target, item, window = numbers.where
        horizon = numbers.median.shape[-1]
        actual, median = numbers.actual[target, item, window], numbers.median[target, item, window]
        scale = numbers.scales[target, item, window][:, None]
        error, size = np.abs(actual - median), np.abs(actual) + np.abs(median)
        points = {
            "_item": np.repeat(item, horizon),
            "target_name": np.repeat(np.array(numbers.target_names, dtype=object)[target], horizon),
            "cutoff": self._cutoffs(item, window, horizon),
            "step": np.tile(np.arange(horizon) + numbers.gap + 1, len(item)),
            "counted": np.isfinite(error).ravel(),
            "scaled_error": (error / np.where(scale > 0, scale, np.nan)).ravel(),
            "size": np.where(np.isfinite(error), np.abs(actual), np.nan).ravel(),
            "smape": np.where(size == 0, 0.0, 2 * error / np.where(size == 0, 1.0, size)).ravel(),
        }
        for place, level in enumerate(numbers.levels):
            name, quantile = quantile_column(level), numbers.quantiles[target, item, window, :, place]
            missed = actual - quantile
            points[f"loss_{name}"] = (2 * np.maximum(level * missed, (level - 1) * missed)).ravel()
            points[f"below_{name}"] = np.where(np.isfinite(missed), actual <= quantile, np.nan).ravel()
        return pd.DataFrame(points)

    def _cutoffs(self, item: IntArray, window: IntArray, horizon: int) -> pd.Index:
        panel = self.windows.panel
        known = self.windows.cuts[item, window]
        return panel.grid.stamps(np.repeat(panel.starts[item] + (known - 1) * panel.grid.step, horizon))


def item_errors(result: BacktestResult) -> FloatArray:
    """MASE (I,) of each item over its windows, NaN where there is none."""
    numbers = result.windows
    scales = np.where(numbers.scales > 0, numbers.scales, np.nan)
    errors = np.abs(numbers.actual - numbers.median) / scales[..., None]
    return np.array([_mean(errors[:, item]) for item in range(errors.shape[1])])


def _levels_reached(actual: FloatArray, quantiles: FloatArray, levels: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Lowest and highest level at which a value lies; the same unless it ties with several quantiles.

    Ties with the outermost quantile go on to level 0 or 1. Between two quantiles it is halfway between their levels.
    """
    order = np.argsort(levels)
    edges = np.concatenate([[0.0], levels[order], [1.0]])
    below = (quantiles < actual[..., None]).sum(-1)  # quantiles under the value
    upto = (quantiles <= actual[..., None]).sum(-1)
    middle = (edges[below] + edges[np.minimum(below + 1, len(edges) - 1)]) / 2
    is_tied = upto > below + 1  # with two or more quantiles
    first = np.where(below == 0, 0.0, edges[np.minimum(below + 1, len(edges) - 1)])
    last = np.where(upto == len(levels), 1.0, edges[upto])
    return np.where(is_tied, first, middle), np.where(is_tied, last, middle)


def _share_within(first: FloatArray, last: FloatArray, low: float, high: float) -> FloatArray:
    """Share of the levels from `first` to `last` that is within a band; 0 or 1 where they are the same."""
    inside = np.clip(np.minimum(last, high) - np.maximum(first, low), 0.0, None)
    is_point = last <= first
    return np.where(is_point, (first > low) & (first < high), inside / np.where(is_point, 1.0, last - first))


def _mean(values: FloatArray) -> float:
    """Mean of what is not missing; NaN if everything is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
