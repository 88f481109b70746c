"""Backtests: forecast from several cutoffs of a known history, and compare with what came.

No leakage by construction: a forecaster is handed a table of the rows up to the cutoff, and one table per cutoff, so
that not even another item's later rows are in it (``tests/unit/test_backtest.py`` poisons the future). Known future
covariates are the exception that the user names.

Backtests of covariates look at the same windows again at every cutoff: these are forecast once (`tsar.decode.kept`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np
from sklearn.base import clone

from tsar.backtesting.result import BacktestResult, Windows
from tsar.decode.kept import keep_forecasts
from tsar.errors import FrameError, OptionError, once, warn
from tsar.forecast import validate_levels
from tsar.frame import Panel, normalize_frame, quantile_column
from tsar.frame.columns import collect, open_frame, read_columns, read_ids, read_stamps, read_table
from tsar.freq import season_length
from tsar.freq.grid import integers
from tsar.metrics import seasonal_error
from tsar.types import BoolArray, FloatArray, IntArray
from tsar.validation import validate_count

SHORTEST_HISTORY = 3


@once()
def backtest(
    forecaster: Any,
    df: Any,
    *,
    prediction_length: int | None = None,
    windows: int = 3,
    step: int | None = None,
    refit: bool = False,
    gap: int | None = None,
    min_history: int = SHORTEST_HISTORY,
    quantile_levels: Sequence[float] | None = None,
) -> BacktestResult:
    """Forecast the last stretches of every item's history from what was known before them.

    Parameters
    ----------
    forecaster
        A `Forecaster`, a baseline of `tsar.baselines`, or any object with their ``fit(df)`` and
        ``predict(df, prediction_length=, quantile_levels=)``. It is cloned, never changed. Names of columns are taken
        from its attributes ``id_column``, ``timestamp_column`` and ``target``; where ``future_covariates`` is not
        empty, ``predict`` also gets ``future_df``, the future rows of these columns.
    df
        Long frame (pandas, polars or pyarrow) of the whole history.
    prediction_length
        F; None: that of the forecaster, or else one season.
    windows
        Cutoffs W per item. The last one is F + `gap` points before the end of the item, each other `step` points
        earlier. Items too short for some windows have fewer, those too short for all are left out with a warning.
    step
        Points between cutoffs; None: F, so that windows do not overlap.
    refit
        True: fit anew at every cutoff, on what is known there. False: fit once, at the earliest cutoff, and from there
        on only forecast; for a zero-shot forecaster both are the same. What covariates do belongs to forecasting
        other series than those of `fit`: it is learned anew at every cutoff, from what is known there.
    gap
        Lead time: points between the cutoff and the first one that counts; None: that of the forecaster, or 0.
    min_history
        Points that a window must leave before the cutoff.
    quantile_levels
        Levels to score; None: those of the forecaster.

    Returns
    -------
    BacktestResult
        Forecasts beside what came, scores, coverage.

    Warns
    -----
    TsarWarning
        Those of the forecaster, each kind once.

    Raises
    ------
    FrameError
        ``backtest.too_short`` if no item has a single window; and those of `tsar.frame.normalize_frame`.
    OptionError
        ``option.invalid`` for windows, step, gap or min_history that are not whole numbers in range, or a forecaster
        without ``fit`` and ``predict`` or that answers with other rows than asked;
        ``option.prediction_length``; ``option.quantile_level``.
    """
    if not hasattr(forecaster, "fit") or not hasattr(forecaster, "predict"):
        text = f"the forecaster must have fit and predict, got {forecaster!r}"
        hint = "make one first, such as Forecaster(model='tsar-tiny'); leaderboard(df, [...]) takes names"
        raise OptionError(text, code="option.invalid", hint=hint)
    names = _Names.of(forecaster)
    gap = getattr(forecaster, "gap", 0) if gap is None else gap
    for option, value, least in (
        ("windows", windows, 1), ("step", step, 1), ("gap", gap, 0), ("min_history", min_history, 1)
    ):  # fmt: skip
        if value is not None or option != "step":
            validate_count(option, value, least=least)
    panels = [
        normalize_frame(
            df,
            id_column=names.item,
            timestamp_column=names.stamp,
            target=target,
            freq=getattr(forecaster, "freq", None),
        )
        for target in names.targets
    ]
    panel = panels[0]
    horizon = _horizon(forecaster, panel, prediction_length)
    levels = validate_levels(_levels(forecaster, quantile_levels))
    stride = horizon if step is None else step
    cuts = panel.lengths[:, None] - horizon - gap - stride * np.arange(windows - 1, -1, -1)  # (I, W) points known
    is_window = cuts >= min_history
    _check_lengths(panel, is_window, horizon + gap + min_history)
    quantiles = np.full((len(panels), panel.num_items, windows, horizon, len(levels)), np.nan)
    median = np.full(quantiles.shape[:-1], np.nan)
    rows = _Rows.read(df, names)
    fitted = None
    with keep_forecasts():
        for window in np.flatnonzero(is_window.any(0)):
            items = np.flatnonzero(is_window[:, window])
            known = rows.until(panel, items, cuts[items, window])
            if refit or fitted is None:
                fitted = _fresh(forecaster, panel).fit(known)
            options: dict[str, Any] = {"prediction_length": horizon + gap, "quantile_levels": tuple(levels.tolist())}
            if names.future:
                options["future_df"] = rows.after(panel, items, cuts[items, window], horizon + gap)
            answer = fitted.predict(known, **options)
            median[:, items, window], quantiles[:, items, window] = _numbers(
                answer, names, len(items), horizon + gap, gap, levels
            )
    return BacktestResult(
        Windows(
            panel=panel,
            target_names=names.targets,
            cuts=np.where(is_window, cuts, -1),
            gap=gap,
            levels=levels,
            season_length=_season(forecaster, panel),
            actual=np.stack([_actual(one, cuts + gap, is_window, horizon) for one in panels]),
            median=median,
            quantiles=quantiles,
            scales=np.stack([_scales(one, cuts, is_window, _season(forecaster, panel)) for one in panels]),
            id_column=names.item or "item_id",
            timestamp_column=names.stamp,
        )
    )


@dataclass(frozen=True)
class _Names:
    """Columns of the frame: id, timestamp, targets, and covariates known ahead."""

    item: str | None
    stamp: str
    targets: tuple[str, ...]
    future: tuple[str, ...]

    @classmethod
    def of(cls, forecaster: Any) -> _Names:
        target = getattr(forecaster, "target", "target")
        future = getattr(forecaster, "future_covariates", None)
        return cls(
            getattr(forecaster, "id_column", "item_id"),
            getattr(forecaster, "timestamp_column", "timestamp"),
            (target,) if isinstance(target, str) else tuple(target),
            () if future is None else (future,) if isinstance(future, str) else tuple(future),
        )


@dataclass(frozen=True)
class _Rows:
    """The rows of the user's frame in order of item and time: their places, items and ticks (N,)."""

    frame: nw.DataFrame[Any]
    names: _Names
    order: IntArray
    codes: IntArray
    ticks: IntArray

    @classmethod
    def read(cls, df: Any, names: _Names) -> _Rows:
        frame = collect(open_frame(df))
        target = names.targets[0]
        columns = read_columns(read_table(df, names.item, names.stamp, target), names.item, names.stamp, target)
        codes, _ = read_ids(columns)
        ticks = integers(read_stamps(columns))
        order = np.lexsort((ticks, codes))
        return cls(frame, names, order, codes[order], ticks[order])

    def until(self, panel: Panel, items: IntArray, known: IntArray) -> Any:
        """Rows of some items up to the last of their `known` points; all columns."""
        last = self._ticks_of(panel, items, known - 1)
        return self._take(self.ticks <= last[self.codes], items, panel.num_items).to_native()

    def after(self, panel: Panel, items: IntArray, known: IntArray, length: int) -> Any:
        """Rows of the covariates known ahead, of the `length` points after the `known` ones; never a target."""
        first, last = (self._ticks_of(panel, items, known + ahead) for ahead in (0, length - 1))
        keep = (self.ticks >= first[self.codes]) & (self.ticks <= last[self.codes])
        columns = [name for name in (self.names.item, self.names.stamp) if name is not None]
        return self._take(keep, items, panel.num_items).select([*columns, *self.names.future]).to_native()

    def _take(self, keep: BoolArray, items: IntArray, num_items: int) -> nw.DataFrame[Any]:
        wanted = np.isin(np.arange(num_items), items)
        return self.frame[self.order[keep & wanted[self.codes]]]

    def _ticks_of(self, panel: Panel, items: IntArray, places: IntArray) -> IntArray:
        """Ticks (I,) of one point of each of some items; the lowest number for the others."""
        ticks = np.full(panel.num_items, np.iinfo(np.int64).min)
        ticks[items] = integers(panel.grid.stamps(panel.starts[items] + places * panel.grid.step))
        return ticks


def _fresh(forecaster: Any, panel: Panel) -> Any:
    """An unfitted copy that takes the frequency of the whole history, since a few rows may look like another one."""
    copy = clone(forecaster, safe=False)
    if hasattr(copy, "gap"):
        copy.set_params(gap=0)  # the steps within the gap are forecast too, and left out here
    if hasattr(copy, "set_params") and getattr(copy, "freq", "given") is None:
        copy.set_params(freq=panel.freq if panel.freq is not None else panel.grid.step)
    return copy


def _numbers(
    answer: Any, names: _Names, num_items: int, length: int, gap: int, levels: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Median (C, I, F) and quantiles (C, I, F, Q) of a forecast frame, without the lead time."""
    table = nw.from_native(answer, eager_only=True)
    columns = [*(quantile_column(level) for level in levels), "predictions"]
    parts = []
    for target in names.targets:
        part = table.filter(nw.col("target_name") == target) if len(names.targets) > 1 else table
        values = part.select(columns).to_numpy().astype(np.float64)
        if len(values) != num_items * length:
            raise OptionError(
                f"the forecaster gave {len(values)} rows of {target!r} for {num_items} items and {length} steps",
                code="option.invalid",
                hint="predict must answer with a row per item and step, items in the order given",
            )
        parts.append(values.reshape(num_items, length, len(columns))[:, gap:])
    stacked = np.stack(parts)
    return stacked[..., -1], stacked[..., :-1]


def _actual(panel: Panel, first: IntArray, is_window: BoolArray, horizon: int) -> FloatArray:
    """(I, W, F) values from the points `first` (I, W) on; NaN where there is no window."""
    places = np.where(is_window, first, 0)[..., None] + np.arange(horizon)
    inside = is_window[..., None] & (places < panel.lengths[:, None, None])
    places = np.clip(panel.offsets[:-1, None, None] + places, 0, len(panel.values) - 1)
    return np.where(inside, panel.values[places], np.nan)


def _scales(panel: Panel, cuts: IntArray, is_window: BoolArray, season: int) -> FloatArray:
    """(I, W) seasonal error of what was known at each cutoff."""
    scales = np.full(cuts.shape, np.nan)
    for item, window in np.argwhere(is_window):
        first = panel.offsets[item]
        scales[item, window] = seasonal_error(panel.values[first : first + cuts[item, window]], season)
    return scales


def _check_lengths(panel: Panel, is_window: BoolArray, needed: int) -> None:
    short = panel.item_ids[~is_window.any(1)]
    if len(short) == panel.num_items:
        raise FrameError(
            f"no item is long enough for one window: {needed} points are needed, the longest has {panel.lengths.max()}",
            code="backtest.too_short",
            item_ids=short,
            hint="use a shorter prediction_length or gap, or a smaller min_history",
        )
    if len(short):
        text = f"too short for a backtest window of {needed} points: {len(short)} of {panel.num_items} items"
        warn(f"{text}, first {short[0]!r}; they are left out")


def _horizon(forecaster: Any, panel: Panel, prediction_length: int | None) -> int:
    wanted = getattr(forecaster, "prediction_length", None) if prediction_length is None else prediction_length
    if wanted is None:
        return max(_season(forecaster, panel), 1)
    return validate_count("prediction_length", wanted, code="option.prediction_length")


def _season(forecaster: Any, panel: Panel) -> int:
    own = getattr(forecaster, "season_length", None)
    return int(own) if own is not None else season_length(panel.freq)


def _levels(forecaster: Any, wanted: Sequence[float] | None) -> Sequence[float]:
    own: Sequence[float] = getattr(forecaster, "quantile_levels", (0.1, 0.5, 0.9))
    return own if wanted is None else wanted
