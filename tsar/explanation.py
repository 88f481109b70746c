"""What moved a forecast: segments of the context hidden one by one, covariates left out one by one, and its parts.

Occlusion (Zeiler and Fergus, 2014, for pictures): hide a segment, as if it had never been observed, forecast again, and
see what changes. It needs no look inside the model, which was trained with values missing. All hidden variants of all
items go through the model as one panel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from tsar.covariates import apply_effect
from tsar.errors import OptionError
from tsar.frame import Panel
from tsar.frame.assemble import to_kind
from tsar.freq import season_length
from tsar.inference import Inference
from tsar.options import validate_options
from tsar.types import FloatArray, IntArray
from tsar.validation import validate_count

PARTS = ("level", "season", "trend", "rest")
MOST_SEASONS = 24
"""Seasons that become a segment each; what is older is one more."""

PROFILE_SEASONS = 3
"""Seasons whose mean is the seasonal part."""

POINTS_AT_ONCE = 1 << 23


def explain(
    forecaster: Any,
    df: Any = None,
    *,
    segments: int | str = 8,
    blocks: int = 4,
    prediction_length: int | None = None,
    future_df: Any = None,
) -> Any:
    """Say what in the context, and which covariates, moved the forecast of every item.

    Parameters
    ----------
    forecaster
        A `Forecaster`, fitted unless `df` is given.
    df
        As in `Forecaster.predict`.
    segments
        How many parts of about equal length the context is cut into, or ``"season"``: one season each, up to 24, what
        is older together.
    blocks
        How many runs of steps the horizon is cut into; effects are means over a run.
    prediction_length, future_df
        As in `Forecaster.predict`.

    Returns
    -------
    frame of the kind that came in
        Rows by item, block (``first_step`` to ``last_step``, from 1), and ``kind``:

        - ``"segment"``: `num_points` of the context from `timestamp` on, numbered from the newest. Its effect is what
          the forecast loses when they are hidden as missing. Missing if nothing observed is left then.
        - ``"covariate"``: a column; its effect is what the forecast loses when nothing is known of it. Zero for those
          that `fit` does not use. Static covariates are not asked.
        - ``"part"``: the median without covariates as a sum of the level and the profile of the last seasons, a line
          through what is left (``trend``), and a ``rest``. The profile is the mean of up to three seasons, flat without
          a season in the frequency.

        For covariates and parts `timestamp` is the first of the block. ``change`` is the mean change of the median in
        data units (positive: it raised the forecast; parts: the part itself), ``width_change`` that of the width
        between the outermost levels of the model, ``effect`` the mean absolute change of the median,
        ``relative_effect`` the same in widths of the full forecast's outermost band, ``rank`` the place of a segment or
        covariate by effect within item and block (0 for parts, and where the effect is missing).

    Raises
    ------
    OptionError
        ``option.invalid`` for segments or blocks that are no whole number from 1, and ``"season"`` where the frequency
        has none.
    NotFittedError, FrameError, CovariateError
        As in `Forecaster.predict`.

    Notes
    -----
    Explained is the model's forecast with covariates, before `follow_period`, calibration, constraints and the
    classical partner. It costs as many forecasts as there are segments. Effects of segments do not add up to the
    forecast: when two of them say the same, hiding one changes little.
    """
    validate_options(forecaster)
    inference = replace(forecaster._inference(), ensemble=None, follow_period=False)
    panel = forecaster._fitted_panel() if df is None else forecaster._panel(df)
    inference = inference.at(panel.freq)
    _validate(segments, blocks, panel)
    steps = forecaster._horizon(panel, prediction_length)
    horizon = forecaster.gap + steps
    future = forecaster._future(panel, future_df, horizon)

    shown, hidden, cuts = _occlude(inference, panel, horizon, segments)
    with_covariates, without, names = _leave_out(forecaster, inference, panel, shown, future)
    ends = [run + forecaster.gap for run in np.array_split(np.arange(steps), min(blocks, steps))]
    widths = _width(with_covariates)
    rows = [
        _changes(shown[cuts.items], hidden, widths[cuts.items], ends, cuts.items, "segment", cuts.names),
        *(
            _changes(with_covariates, other, widths, ends, np.arange(panel.num_items), "covariate", name)
            for name, other in zip(names, without, strict=True)
        ),
        *_parts(panel, shown, widths, ends),
    ]
    table = _stamped(pd.concat(rows, ignore_index=True), panel, cuts, steps, forecaster)
    items = table.pop("item").to_numpy()
    return to_kind(table, "item_id" if forecaster.id_column is None else forecaster.id_column, panel.source, items)


@dataclass(frozen=True, eq=False)
class _Cuts:
    """Segments of all items: (S,) item, number from the newest, first place on the panel, and points."""

    items: IntArray
    numbers: IntArray
    starts: IntArray
    sizes: IntArray
    unit: str

    @property
    def names(self) -> list[str]:
        return [f"{self.unit} {number}" for number in self.numbers]


def _validate(segments: int | str, blocks: int, panel: Panel) -> None:
    for name, value in (("segments", segments), ("blocks", blocks)):
        if name == "segments" and isinstance(value, str) and value == "season":
            if season_length(panel.freq) < 2:
                raise OptionError(
                    f"segments='season' needs a frequency with seasons, and that of the data is {panel.freq!r}.",
                    code="option.invalid",
                    hint="Give a number of segments",
                )
        else:
            validate_count(name, value, instead=", or 'season'" if name == "segments" else "")


def _occlude(
    inference: Inference, panel: Panel, horizon: int, segments: int | str
) -> tuple[FloatArray, FloatArray, _Cuts]:
    """Forecasts of all items (I, F, Q), and with each segment hidden (S, F, Q)."""
    reach = inference.reach(panel.freq)
    cuts = _cut(panel, reach, segments)
    shown, hidden = [], []
    for chosen in _chunks(panel, reach, cuts):
        parts, is_shown = [], []
        for item in chosen:
            start = max(panel.offsets[item], panel.offsets[item + 1] - reach)
            series = panel.values[start : panel.offsets[item + 1]]
            parts.append(series)
            is_shown.append(True)
            for place in np.flatnonzero(cuts.items == item):
                first = cuts.starts[place] - start
                parts.append(np.where(_within(len(series), first, cuts.sizes[place]), np.nan, series))
                is_shown.append(False)
        quantiles = inference.forecast(_panel_of(panel, parts), horizon)
        shown.append(quantiles[is_shown])
        hidden.append(quantiles[~np.array(is_shown)])
    return np.concatenate(shown), np.concatenate(hidden), cuts


def _cut(panel: Panel, reach: int, segments: int | str) -> _Cuts:
    """Cut what is read of every item, oldest segment first."""
    items, numbers, starts, sizes = [], [], [], []
    season = season_length(panel.freq)
    for item, length in enumerate(np.minimum(panel.lengths, reach)):
        if isinstance(segments, str):
            count = min(-(-int(length) // season), MOST_SEASONS + 1)
            edges = np.concatenate([[0], length - season * np.arange(count)[:0:-1], [length]])
        else:
            count = min(int(segments), int(length))
            edges = np.round(np.linspace(0, length, count + 1)).astype(np.int64)
        items.append(np.full(count, item))
        numbers.append(np.arange(count, 0, -1))
        starts.append(panel.offsets[item + 1] - length + edges[:-1])
        sizes.append(np.diff(edges))
    unit = "season" if isinstance(segments, str) else "segment"
    return _Cuts(np.concatenate(items), np.concatenate(numbers), np.concatenate(starts), np.concatenate(sizes), unit)


def _chunks(panel: Panel, reach: int, cuts: _Cuts) -> Iterator[IntArray]:
    """Items, in runs whose hidden variants fit into memory together."""
    points = np.minimum(panel.lengths, reach) * (np.bincount(cuts.items, minlength=panel.num_items) + 1)
    turn = np.cumsum(points) // POINTS_AT_ONCE
    yield from np.split(np.arange(panel.num_items), np.flatnonzero(np.diff(turn)) + 1)


def _within(length: int, first: int, size: int) -> Any:
    place = np.arange(length)
    return (place >= first) & (place < first + size)


def _panel_of(panel: Panel, parts: list[FloatArray]) -> Panel:
    """The series as items of a panel of the same frequency; what it says of stamps and ids is of no use."""
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    return replace(
        panel, values=np.concatenate(parts), offsets=offsets, item_ids=np.arange(len(parts)).astype(object),
        starts=np.zeros(len(parts), dtype=np.int64), covariates=None,
    )  # fmt: skip


def _leave_out(
    forecaster: Any, inference: Inference, panel: Panel, quantiles: FloatArray, future: FloatArray
) -> tuple[FloatArray, list[FloatArray], list[str]]:
    """Forecasts (I, F, Q) with all covariates and without each column, and the columns' names."""
    covariates = panel.covariates
    if covariates is None:
        return quantiles, [], []
    effect = forecaster._effect_of(panel, covariates, inference)
    known: dict[bytes, FloatArray] = {}  # the expectation of one covariate serves all forecasts without another

    def decode(values: FloatArray, offsets: IntArray, prediction_length: int) -> FloatArray:
        key = values.tobytes()
        if key not in known:
            known[key] = inference.decode(values, offsets, prediction_length)
        return known[key]

    def moved(is_known: Any) -> FloatArray:
        told = np.where(is_known[:, None], covariates.values, np.nan)
        ahead = np.where(is_known[covariates.num_past :, None, None], future, np.nan)
        read = replace(covariates, values=told)
        return apply_effect(effect, quantiles, decode, panel.values, panel.offsets, read, ahead)

    columns = np.array(covariates.columns)
    names = list(dict.fromkeys(columns.tolist()))
    full = moved(columns != "")
    used = {name: bool(effect.kept[columns == name].any()) for name in names}
    return full, [moved(columns != name) if used[name] else full for name in names], names


def _width(quantiles: FloatArray) -> FloatArray:
    return quantiles[..., -1] - quantiles[..., 0]


def _median(quantiles: FloatArray) -> FloatArray:
    return quantiles[..., quantiles.shape[-1] // 2]


def _changes(
    full: FloatArray, other: FloatArray, widths: FloatArray, ends: list[IntArray], items: IntArray, kind: str,
    name: str | list[str],
) -> pd.DataFrame:  # fmt: skip
    """Rows of what `full` (S, F, Q) has over `other`; `widths` (S, F) are those of the whole forecast."""
    change, width = _median(full) - _median(other), _width(full) - _width(other)
    return _rows(change, width, widths, ends, items, kind, name)


def _rows(
    change: FloatArray, width: FloatArray, widths: FloatArray, ends: list[IntArray], items: IntArray, kind: str,
    name: str | list[str],
) -> pd.DataFrame:  # fmt: skip
    """One row per block and series (S, F)."""
    rows = []
    for block, steps in enumerate(ends):
        effect, unit = np.abs(change[:, steps]).mean(1), widths[:, steps].mean(1)
        rows.append(
            pd.DataFrame(
                {
                    "item": items, "block": block, "kind": kind, "name": name, "first_step": steps[0] - ends[0][0] + 1,
                    "last_step": steps[-1] - ends[0][0] + 1, "change": change[:, steps].mean(1),
                    "width_change": width[:, steps].mean(1), "effect": effect,
                    "relative_effect": np.where(effect == 0, 0.0, effect / np.where(unit > 0, unit, np.nan)),
                    "place": np.arange(len(items)),
                }
            )
        )  # fmt: skip
    return pd.concat(rows, ignore_index=True)


def _parts(panel: Panel, quantiles: FloatArray, widths: FloatArray, ends: list[IntArray]) -> list[pd.DataFrame]:
    """Rows of the parts of the median, which add up to it."""
    median = _median(quantiles)[:, ends[0][0] :]
    season = max(season_length(panel.freq), 1)
    level, profile = np.empty(len(median)), np.empty((len(median), season))
    for item in range(len(median)):
        level[item], profile[item] = _last_seasons(panel.series(item).target[0], season)
    phase = np.arange(ends[0][0], ends[-1][-1] + 1) % season
    seasonal = profile[:, phase]
    left = median - level[:, None] - seasonal
    time = np.arange(median.shape[1]) - (median.shape[1] - 1) / 2
    slope = (left * time).sum(1, keepdims=True) / max(float((time**2).sum()), 1.0)
    trend = left.mean(1, keepdims=True) + slope * time
    values = (np.broadcast_to(level[:, None], median.shape), seasonal, trend, left - trend)
    unit, nothing, items = widths[:, ends[0][0] :], np.zeros_like(median), np.arange(len(median))
    runs = [run - ends[0][0] for run in ends]
    return [
        _rows(np.asarray(part), nothing, unit, runs, items, "part", name)
        for name, part in zip(PARTS, values, strict=True)
    ]


def _last_seasons(series: FloatArray, season: int) -> tuple[float, FloatArray]:
    """Level of the last season, and the profile (season,) around the mean that follows the end."""
    count = min(len(series) // season, PROFILE_SEASONS)
    if count == 0:
        seen = series[np.isfinite(series)]
        return (float(seen.mean()) if len(seen) else np.nan), np.zeros(season)
    table = series[len(series) - count * season :].reshape(count, season)
    number = np.isfinite(table).sum(0)
    profile = np.nansum(table, 0) / np.where(number > 0, number, np.nan)
    if not np.isfinite(profile).any():
        return np.nan, np.zeros(season)
    last = table[-1][np.isfinite(table[-1])]
    middle = float(np.nanmean(profile))
    return (float(last.mean()) if len(last) else middle), np.nan_to_num(profile - middle)


def _stamped(rows: pd.DataFrame, panel: Panel, cuts: _Cuts, steps: int, forecaster: Any) -> pd.DataFrame:
    """Put stamps, sizes and ranks to the rows, in order of item, block, and kind."""
    is_segment = (rows["kind"] == "segment").to_numpy()
    place = rows.pop("place").to_numpy()
    first = rows["first_step"].to_numpy()
    ahead = len(panel.values) + rows["item"].to_numpy() * steps + first - 1
    where = ahead.copy()
    where[is_segment] = cuts.starts[place[is_segment]]
    stamps = panel.timestamps().append(panel.future_timestamps(steps, forecaster.gap))
    size = rows["last_step"].to_numpy() - first + 1
    size[is_segment] = cuts.sizes[place[is_segment]]
    ranked = rows["effect"].where(rows["kind"] != "part")
    rank = ranked.groupby([rows["item"], rows["block"]]).rank(ascending=False, method="first")
    rows.insert(0, forecaster.timestamp_column, stamps.take(where))
    rows.insert(5, "num_points", size)
    rows["rank"] = rank.fillna(0).astype(np.int64)
    order = rows.sort_values(["item", "block"], kind="stable")
    return order.drop(columns="block").reset_index(drop=True)
