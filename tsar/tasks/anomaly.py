"""Find what a forecaster did not expect: scores, a threshold, and intervals with what was expected and what was seen.

Every point is judged by a forecast made before it: one pass over a window gives the law of every next patch, since each
token of a causal decoder knows its past alone. The score is how far the value lies out in that law.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtri

from tsar.decode.rolling import rolling_quantiles
from tsar.errors import ModelError, OptionError
from tsar.forecast import Forecast
from tsar.frame import Panel, make_panel_frame, normalize_frame
from tsar.frame.assemble import validate_columns
from tsar.hub import load_model, resolve_device
from tsar.model.decoder import Decoder
from tsar.types import BoolArray, FloatArray, IntArray
from tsar.validation import validate_count

FALSE_ALARMS = 1e-3
LEAST_SCORE = 4.0
"""Nothing below is flagged by the tail fit: one point in 16,000 of a normal law lies further out."""
LARGEST_SCORE = 100.0
_TAIL, _LEAST_TAIL_POINTS = 0.02, 10
"""The tail fit uses this share of the scores, and at least so many."""
_LEAST_SPREAD = 1e-3
"""A band is never taken to be narrower than this share of the series' deviation so far."""


def detect_anomalies(
    df: Any,
    model: str | Path | Decoder = "tsar-tiny",
    *,
    contamination: float | None = None,
    threshold: float | None = None,
    smooth: int = 1,
    merge: int = 3,
    explain: bool = False,
    quantile_levels: Sequence[float] = (0.1, 0.9),
    freq: str | None = None,
    id_column: str | None = "item_id",
    timestamp_column: str = "timestamp",
    target: str = "target",
    device: str = "auto",
) -> Any:
    """Score every point of every series by how unexpected it was, and flag the anomalies.

    Parameters
    ----------
    df
        Long frame (pandas, polars or pyarrow): one row per item and stamp. It is not changed.
    model
        Name of a release, path of a release folder, or a loaded `Decoder` that forecasts.
    contamination
        Share of each item's scored points to flag, between 0 and 0.5. None: decide by `threshold`.
    threshold
        Score from which a point is flagged. None: for each item the score that its tail, fitted robustly, passes once
        in a thousand points, but not below 4.
    smooth
        Points of the centred moving average of the scores; 1: each point for itself. Long anomalies stand out more
        when smoothed, single points less; a smoothed score looks half of `smooth` ahead.
    merge
        Flagged points at most this far apart are one interval.
    explain
        Return the intervals too.
    quantile_levels
        Two levels: the band that is given beside the expected value.
    freq, id_column, timestamp_column, target, device
        As in `Forecaster`.

    Returns
    -------
    points : frame of the kind that came in
        One row per item and stamp, time ascending, rows that were not there inserted: the id, timestamp and target
        columns, ``score`` (deviations of a normal law, from 0; missing where nothing was observed, and in the first two
        patches of an item, which are too little to judge by), ``is_anomaly``, ``expected`` (the median), ``lower``,
        ``upper`` (the band) and ``interval`` (number of the interval within the item, from 1; 0 outside).
    intervals : frame of the kind that came in
        With ``explain=True`` only: one row per interval, the worst first: the id, the timestamp column (its start),
        ``end``, ``peak`` (the stamp of the highest score), ``num_points``, ``score`` (at the peak), ``expected``,
        ``seen`` (there), ``direction`` (``"above"`` or ``"below"``).

    Raises
    ------
    FrameError, FrequencyError
        For data that cannot be used, as in `Forecaster.fit`.
    OptionError
        ``option.invalid``, ``option.quantile_level``, ``device.unavailable``.
    ModelError
        ``model.wrong_task`` for a model that does not forecast.

    Notes
    -----
    Without smoothing, no score depends on later points, the scales included (a period that the tokenizer looks for in
    the window is the exception; no shipped model has one). The threshold comes from the whole item. The tail fit is
    peaks over threshold (Siffer et al., 2017) with an exponential tail whose scale is read off its median.
    """
    _validate(contamination, threshold, smooth, merge, quantile_levels)
    decoder = load_model(model, resolve_device(device))
    if decoder.config.task != "forecast":
        raise ModelError(f"{model!r} fills gaps; anomalies need a model that forecasts.", code="model.wrong_task")
    validate_columns([str(target), "score", "is_anomaly", "expected", "lower", "upper", "interval"])
    panel = normalize_frame(df, id_column=id_column, timestamp_column=timestamp_column, target=target, freq=freq)
    quantiles = rolling_quantiles(decoder.at_frequency(panel.freq), panel.values, panel.offsets)
    law = Forecast(quantiles[:, None], np.asarray(decoder.config.quantile_levels))
    floors = _running_deviation(panel.values, panel.offsets) * _LEAST_SPREAD
    signed = normal_scores(panel.values, quantiles, np.asarray(decoder.config.quantile_levels), floors)
    bounds = list(zip(panel.offsets[:-1].tolist(), panel.offsets[1:].tolist(), strict=True))
    scores = np.concatenate([smooth_scores(np.abs(signed[start:stop]), smooth) for start, stop in bounds])
    flagged = np.zeros(len(scores), dtype=bool)
    for start, stop in bounds:
        flagged[start:stop] = _flag(scores[start:stop], contamination, threshold)
    interval = np.concatenate([_number_intervals(flagged[start:stop], merge) for start, stop in bounds])
    band = law.at(sorted(quantile_levels))[:, 0]
    names: dict[str, Any] = {"id_column": id_column, "timestamp_column": timestamp_column}
    columns = {
        target: panel.values, "score": scores, "is_anomaly": flagged, "expected": law.median[:, 0],
        "lower": band[:, 0], "upper": band[:, 1], "interval": interval,
    }  # fmt: skip
    points = make_panel_frame(panel, columns, **names)
    if not explain:
        return points
    return points, _explain(panel, scores, signed, law.median[:, 0], interval, flagged, names)


def normal_scores(values: FloatArray, quantiles: FloatArray, levels: FloatArray, floors: FloatArray) -> FloatArray:
    """Where each value lies in its law, as the standard normal quantile of that place.

    Parameters
    ----------
    values
        (N,), NaN where missing.
    quantiles, levels
        (N, Q) and (Q,), an odd number of levels around the median.
    floors
        (N,) least deviation of each law.

    Returns
    -------
    ndarray
        (N,) signed; linear between the quantiles, and beyond the outermost ones with the spread of their whole side.
        NaN where value or law is missing. Never beyond `LARGEST_SCORE`.
    """
    known, middle = ndtri(levels), len(levels) // 2
    centre = quantiles[:, middle]
    least = known * floors[:, None]
    below = np.minimum(quantiles - centre[:, None], least)[:, : middle + 1]
    above = np.maximum(quantiles - centre[:, None], least)[:, middle:]
    steps = np.concatenate([below[:, :-1], np.zeros((len(values), 1)), above[:, 1:]], 1)
    error = values - centre
    place = np.clip((error[:, None] > steps).sum(1) - 1, 0, len(levels) - 2)
    rows = np.arange(len(values))
    low, high = steps[rows, place], steps[rows, place + 1]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        inside = known[place] + (error - low) / (high - low) * (known[place + 1] - known[place])
        score = np.where(error < steps[:, 0], error / -steps[:, 0] * -known[0], inside)
        score = np.where(error > steps[:, -1], error / steps[:, -1] * known[-1], score)
        score = np.where(error == 0, 0.0, np.clip(score, -LARGEST_SCORE, LARGEST_SCORE))
    return np.where(np.isnan(error), np.nan, score)


def smooth_scores(scores: FloatArray, width: int) -> FloatArray:
    """Centred moving average (N,) over what is known; missing scores stay missing."""
    if width == 1:
        return scores
    known = np.isfinite(scores)
    kernel = np.ones(width)
    total = np.convolve(np.where(known, scores, 0.0), kernel)[(width - 1) // 2 :][: len(scores)]
    count = np.convolve(known.astype(float), kernel)[(width - 1) // 2 :][: len(scores)]
    return np.where(known, total / np.maximum(count, 1), np.nan)


def tail_threshold(scores: FloatArray, false_alarms: float = FALSE_ALARMS) -> float:
    """Score that a tail fitted to the highest known scores passes with probability `false_alarms`."""
    known = np.sort(scores[np.isfinite(scores)])[::-1]
    count = max(int(np.ceil(_TAIL * len(known))), min(_LEAST_TAIL_POINTS, len(known) // 2))
    if count < 2:
        return LEAST_SCORE
    start = known[count]
    scale = np.median(known[:count] - start) / np.log(
        2
    )  # the median of an exponential law; a few outliers do not move it
    return float(max(start + scale * np.log(count / len(known) / false_alarms), LEAST_SCORE))


def _flag(scores: FloatArray, contamination: float | None, threshold: float | None) -> BoolArray:
    known = np.isfinite(scores)
    if contamination is None:
        return known & (np.where(known, scores, 0.0) >= (tail_threshold(scores) if threshold is None else threshold))
    flagged = np.zeros(len(scores), dtype=bool)
    wanted = round(contamination * int(known.sum()))
    flagged[np.argsort(np.where(known, -scores, np.inf), kind="stable")[:wanted]] = True
    return flagged


def _number_intervals(flagged: BoolArray, merge: int) -> IntArray:
    """Number (N,) of the interval each point is in, from 1, points between merged ones included; 0 outside."""
    number = np.zeros(len(flagged), dtype=np.int64)
    places = np.flatnonzero(flagged)
    if not len(places):
        return number
    new = np.concatenate([[True], np.diff(places) > merge])
    for index, group in enumerate(np.split(places, np.flatnonzero(new)[1:]), 1):
        number[group[0] : group[-1] + 1] = index
    return number


def _explain(
    panel: Panel, scores: FloatArray, signed: FloatArray, expected: FloatArray, interval: IntArray,
    flagged: BoolArray, names: dict[str, Any],
) -> Any:  # fmt: skip
    """One row per interval, the worst first."""
    item = np.repeat(np.arange(panel.num_items), panel.lengths)
    inside = np.flatnonzero(interval > 0)
    new = np.concatenate([[True], (np.diff(interval[inside]) != 0) | (np.diff(item[inside]) != 0)])[: len(inside)]
    groups = np.split(inside, np.flatnonzero(new)[1:]) if len(inside) else []
    peaks = [int(group[np.nanargmax(np.where(flagged[group], scores[group], np.nan))]) for group in groups]
    order = sorted(range(len(groups)), key=lambda place: -scores[peaks[place]])
    starts, ends, top = (
        np.array([pick(place) for place in order], dtype=np.int64)
        for pick in (lambda place: groups[place][0], lambda place: groups[place][-1], lambda place: peaks[place])
    )
    stamps = panel.timestamps()
    columns: dict[str, Any] = {
        "end": stamps[ends], "peak": stamps[top], "num_points": ends - starts + 1, "score": scores[top],
        "expected": expected[top], "seen": panel.values[top],
        "direction": np.where(signed[top] >= 0, "above", "below").astype(object),
    }  # fmt: skip
    return make_panel_frame(panel, columns, rows=starts, **names)


def _running_deviation(values: FloatArray, offsets: IntArray) -> FloatArray:
    """Deviation (N,) of what each series showed before each point."""
    deviation = np.zeros(len(values))
    for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        part = values[start:stop]
        known = np.isfinite(part)
        if known.any():
            centred = np.where(known, part - part[known.argmax()], 0.0)
            unit = np.abs(centred).max() or 1.0
            count = np.maximum(np.cumsum(known), 1)
            mean, square = np.cumsum(centred / unit) / count, np.cumsum((centred / unit) ** 2) / count
            deviation[start + 1 : stop] = unit * np.sqrt(np.maximum(square - mean**2, 0.0))[:-1]
    return deviation


def _validate(
    contamination: float | None, threshold: float | None, smooth: int, merge: int, levels: Sequence[float]
) -> None:
    for name, value in (("smooth", smooth), ("merge", merge)):
        validate_count(name, value)
    problem = None
    if contamination is not None and not (_is_number(contamination) and 0 < contamination < 0.5):
        problem = f"contamination must be between 0 and 0.5, got {contamination!r}"
    elif threshold is not None and not (_is_number(threshold) and threshold > 0):
        problem = f"threshold must be a positive number, got {threshold!r}"
    elif contamination is not None and threshold is not None:
        problem = "contamination and threshold cannot both be given"
    elif len(levels) != 2:
        problem = f"quantile_levels must be two levels, got {levels!r}"
    if problem:
        raise OptionError(problem + ".", code="option.invalid")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
