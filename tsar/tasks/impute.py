"""Fill gaps from both sides.

Two kinds of release can do it. One that forecasts fills a gap twice, from its left and, the series read backwards,
from its right; the two are blended by how far each has to see, and this is done again with the other gaps filled.
One trained for it sees both sides at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tsar.decode.infill import infill_panel
from tsar.decode.panel import decode_panel
from tsar.decode.rolling import forecasts_from
from tsar.errors import OptionError, warn
from tsar.forecast import Forecast, validate_levels
from tsar.frame import make_panel_frame, normalize_frame, quantile_column
from tsar.frame.assemble import validate_columns
from tsar.hub import load_model, resolve_device
from tsar.model.decoder import Decoder
from tsar.refining.history import lower_bound
from tsar.types import BoolArray, FloatArray, IntArray

SIDES = ("both", "left", "right")
ROUNDS = 3
"""How often a model that forecasts fills all gaps: again and again with the last fill of all others in view."""
ENOUGH = 32
"""Observed points that make a side's answer as good as any, for its weight."""


@dataclass(frozen=True)
class Gaps:
    """Runs of missing points, (G,) each: where they start and stop, and where their series does."""

    starts: IntArray
    stops: IntArray
    first: IntArray
    last: IntArray


def impute(
    df: Any,
    model: str | Path | Decoder = "tsar-tiny",
    *,
    quantile_levels: Sequence[float] | None = None,
    freq: str | None = None,
    id_column: str | None = "item_id",
    timestamp_column: str = "timestamp",
    target: str = "target",
    sides: str = "both",
    non_negative: bool | str = "auto",
    device: str = "auto",
) -> Any:
    """Fill what is missing in every series of a long frame.

    Parameters
    ----------
    df
        Long frame (pandas, polars or pyarrow): one row per item and stamp. Values that are NaN or null are filled, and
        so are rows that are not there: they are inserted. It is not changed.
    model
        Name of a release, path of a release folder, or a loaded `Decoder`; one that forecasts or one that fills gaps.
    quantile_levels
        Columns of bands besides the filled value (the median); None: no bands.
    freq
        Pandas alias; None: inferred from the stamps.
    id_column, timestamp_column, target
        Names of the columns. ``id_column=None``: the frame is one series.
    sides
        ``"both"``; ``"left"`` or ``"right"`` to fill from what stands before or after alone (models that forecast).
    non_negative
        Fill with nothing below zero: ``"auto"`` for the series that are never negative, True for all, False for none.
    device
        As in `Forecaster`.

    Returns
    -------
    frame of the kind that came in
        One row per item and stamp, items in the order given, time ascending: the id and timestamp columns, the target
        with its gaps filled, ``imputed`` (bool), and a column per level (the value itself where it was observed).
        Observed values are the same bit for bit. Other columns are left out. What no observed value within the context
        tells about stays missing, with a warning.

    Raises
    ------
    FrameError, FrequencyError
        For data that cannot be used, as in `Forecaster.fit`.
    OptionError
        ``option.invalid``, ``option.quantile_level``, ``device.unavailable``.
    """
    levels = validate_levels(quantile_levels) if quantile_levels is not None else np.empty(0)
    if sides not in SIDES:
        raise OptionError(f"sides must be one of {', '.join(map(repr, SIDES))}, got {sides!r}.", code="option.invalid")
    if not any(non_negative is choice or non_negative == "auto" for choice in (True, False)):
        text = f"non_negative must be True, False or 'auto', got {non_negative!r}."
        raise OptionError(text, code="option.invalid")
    decoder = load_model(model, resolve_device(device))
    if decoder.config.task == "infill" and sides != "both":
        raise OptionError("A model that fills gaps sees both sides: sides must be 'both'.", code="option.invalid")
    validate_columns([str(target), "imputed", *{quantile_column(level) for level in levels}])
    panel = normalize_frame(df, id_column=id_column, timestamp_column=timestamp_column, target=target, freq=freq)
    quantiles = fill_quantiles(decoder.at_frequency(panel.freq), panel.values, panel.offsets, sides=sides)
    missing = np.isnan(panel.values)
    bound = lower_bound(panel.values, panel.offsets, non_negative)
    of_points = None if bound is None else np.repeat(bound, panel.lengths)
    law = Forecast(quantiles[:, None], np.asarray(decoder.config.quantile_levels), of_points)
    filled = np.where(missing, law.median[:, 0], panel.values)
    _warn_of_what_is_left(np.isnan(filled))
    columns = {target: filled, "imputed": missing}
    if len(levels):
        bands = np.where(missing[:, None], law.at(levels.tolist())[:, 0], filled[:, None])
        columns |= {quantile_column(level): bands[:, place] for place, level in enumerate(levels)}
    return make_panel_frame(panel, columns, id_column=id_column, timestamp_column=timestamp_column)


def fill_quantiles(
    model: Decoder,
    values: FloatArray,
    offsets: IntArray,
    *,
    sides: str = "both",
    rounds: int = ROUNDS,
    symmetrize: bool = True,
) -> FloatArray:
    """Quantiles (N, Q) of every missing point, NaN where a value is observed or nothing can be said.

    Parameters
    ----------
    model
        In evaluation mode; its config says whether it forecasts or fills.
    values, offsets
        Series end to end (N,), NaN where missing, and where each starts (I + 1,).
    sides
        For a model that forecasts: from which sides.
    rounds
        For a model that forecasts: how often all gaps are filled.
    symmetrize
        As in `decode_panel`.
    """
    missing = np.isnan(values)
    if not missing.any():
        return np.full((len(values), len(model.config.quantile_levels)), np.nan)
    if model.config.task == "infill":
        return infill_panel(model, values, offsets, missing, symmetrize=symmetrize)
    gaps = _gaps(missing, offsets)
    quantiles = _fill_once(model, values, gaps, missing, sides, symmetrize)
    for _ in range(rounds - 1):  # the other gaps of the context hold their last fill now
        whole = np.where(missing, _median(quantiles), values)
        quantiles = _fill_once(model, whole, gaps, missing, sides, symmetrize)
    return quantiles


def _fill_once(
    model: Decoder, values: FloatArray, gaps: Gaps, missing: BoolArray, sides: str, symmetrize: bool
) -> FloatArray:
    """Quantiles (N, Q) of each gap from what stands around it; nothing within the gap itself is looked at."""
    forward = partial(_continue, model, symmetrize=symmetrize)
    if sides == "left":
        return forward(values, gaps)
    size = len(values)  # the same, the whole panel read backwards
    right = forward(values[::-1], Gaps(size - gaps.stops, size - gaps.starts, size - gaps.last, size - gaps.first))[
        ::-1
    ]
    if sides == "right":
        return right
    return blend(forward(values, gaps), right, missing, gaps)


def _median(quantiles: FloatArray) -> FloatArray:
    return quantiles[:, quantiles.shape[1] // 2]


def _gaps(missing: BoolArray, offsets: IntArray) -> Gaps:
    """Find the runs of missing points, each within one series."""
    begins, ends = missing.copy(), missing.copy()
    begins[1:] &= ~missing[:-1]
    begins[offsets[:-1]] = missing[offsets[:-1]]
    ends[:-1] &= ~missing[1:]
    ends[offsets[1:] - 1] = missing[offsets[1:] - 1]
    starts = np.flatnonzero(begins)
    item = np.searchsorted(offsets, starts, side="right") - 1
    return Gaps(starts, np.flatnonzero(ends) + 1, offsets[item], offsets[item + 1])


def _continue(model: Decoder, values: FloatArray, gaps: Gaps, *, symmetrize: bool) -> FloatArray:
    """Quantiles (N, Q) of each gap from what stands before it in its series; gaps of similar length together."""
    quantiles = np.full((len(values), len(model.config.quantile_levels)), np.nan)
    lengths = gaps.stops - gaps.starts
    for horizon in (1 << power for power in range(int(lengths.max()).bit_length() + 1)):
        chosen = np.flatnonzero((lengths <= horizon) & (lengths > horizon // 2) & (gaps.starts > gaps.first))
        if not len(chosen):
            continue
        ahead = forecasts_from if horizon <= model.config.output_length else _forecasts_far
        answers = ahead(model, values, gaps.first[chosen], gaps.starts[chosen], horizon, symmetrize=symmetrize)
        for gap, answer in zip(chosen, answers, strict=True):
            quantiles[gaps.starts[gap] : gaps.stops[gap]] = answer[: lengths[gap]]
    return quantiles


def _forecasts_far(
    model: Decoder, values: FloatArray, first: IntArray, starts: IntArray, horizon: int, *, symmetrize: bool
) -> FloatArray:
    """As `forecasts_from`, beyond what a token answers for: a window of its own for each."""
    context = model.config.context_length
    begins = np.maximum(first, starts - context)
    parts = [values[begin:stop] for begin, stop in zip(begins, starts, strict=True)]
    bounds = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    return decode_panel(model, np.concatenate(parts), bounds, horizon, context_lengths=[context], symmetrize=symmetrize)


def blend(left: FloatArray, right: FloatArray, missing: BoolArray, gaps: Gaps) -> FloatArray:
    """Mean of two quantile functions (N, Q): at the edge of a gap the near side decides, so the fill meets both ends.

    The weight of a side is the way to the other end, times how many points it was made from up to `ENOUGH`. Where one
    side says nothing the other is taken.
    """
    share = np.zeros((len(missing), 1))
    seen = np.concatenate([[0], np.cumsum(~missing)])
    for start, stop, first, last in zip(gaps.starts, gaps.stops, gaps.first, gaps.last, strict=True):
        place = np.arange(1, stop - start + 1)
        of_left = (stop - start + 1 - place) * min(seen[start] - seen[first], ENOUGH)
        of_right = place * min(seen[last] - seen[stop], ENOUGH)
        share[start:stop, 0] = of_right / np.maximum(of_left + of_right, 1)
    mean = left + share * (right - left)
    return np.where(np.isnan(left), right, np.where(np.isnan(right), left, mean))


def _warn_of_what_is_left(left: BoolArray) -> None:
    if left.any():
        warn(f"{int(left.sum())} missing values have no observed value within the context and stay missing")
