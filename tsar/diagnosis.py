"""What is unusual about each series, before anybody trusts its forecast: one row of names and numbers per item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tsar.errors import warn
from tsar.frame import Panel, make_item_frame, normalize_frame
from tsar.types import BoolArray, FloatArray, IntArray, ObjectArray
from tsar.validation import validate_count

SHORT = 8  # observed values below which there is no season and hardly a trend to see
MOSTLY_MISSING = 0.5
INTERMITTENT = 0.3  # share of zeros among what was observed, of series that are never negative
STRONG_TREND = 0.8  # share of the variance that a straight line takes away
GROWTH_GAIN = 0.5  # the line through the logarithms leaves at most this share of the error of the line
GROWTH_FACTOR = 4.0  # and the series has grown by this factor at least
HUGE = 1e15  # beyond, float64 no longer holds neighbouring whole numbers of every size with room to compute
MIN_FOR_TREND = 8

NAMES = (
    "all_missing",
    "too_short",
    "mostly_missing",
    "stale_end",
    "constant",
    "tiny_spread",
    "intermittent",
    "exponential_growth",
    "strong_trend",
    "out_of_range",
)
"""Every finding, in the order in which the column ``diagnosis`` lists them."""

FALLBACKS = {"all_missing": "missing", "constant": "last_value"}
"""What the forecast is instead of the model's, by finding."""


@dataclass(frozen=True)
class Diagnosis:
    """Findings about the items of a panel.

    Attributes
    ----------
    findings
        Name of `NAMES` -> (I,) bool.
    length, num_observed, num_trailing_missing
        (I,) points of each series, those observed, and those missing at its end.
    """

    findings: dict[str, BoolArray]
    length: IntArray
    num_observed: IntArray
    num_trailing_missing: IntArray

    @property
    def names(self) -> ObjectArray:
        """(I,) findings of each item, joined by commas; empty if there is none."""
        return _join([np.where(self.findings[name], name, "") for name in NAMES])

    @property
    def fallback(self) -> ObjectArray:
        """(I,) what stands in for the model's forecast: ``"missing"``, ``"last_value"``, or empty."""
        result = np.full(len(self.length), "", dtype=object)
        for name, fallback in FALLBACKS.items():
            result[self.findings[name]] = fallback
        return result

    @property
    def with_fallback(self) -> ObjectArray:
        """(I,) as `names`, with what stands in for the model's forecast: ``"constant: last_value"``."""
        names, fallback = self.names, self.fallback
        return np.where(fallback == "", names, names + ": " + fallback)


def diagnose(
    df: Any,
    *,
    id_column: str | None = "item_id",
    timestamp_column: str = "timestamp",
    target: str = "target",
    freq: str | None = None,
    season_length: int | None = None,
) -> Any:
    """Say what is unusual about each series of a long frame.

    Parameters
    ----------
    df
        Long frame (pandas, polars or pyarrow), one row per item and stamp.
    id_column, timestamp_column, target, freq
        As in `Forecaster`.
    season_length
        With it, series shorter than two seasons are too short.

    Returns
    -------
    frame of the kind that came in
        One row per item: the id; ``length``, ``num_observed``, ``num_trailing_missing``; a column of booleans for each
        of `NAMES`; ``diagnosis``, the names that apply, joined by commas; ``fallback``, what `Forecaster` gives
        instead of the model's forecast: the ``last_value`` of a constant series, ``missing`` where nothing was
        observed.

    Raises
    ------
    OptionError
        ``option.invalid`` for a season that is no whole number from 1.
    FrameError, FrequencyError
        For a frame that cannot be read.
    """
    if season_length is not None:
        validate_count("season_length", season_length)
    panel: Panel = normalize_frame(
        df, id_column=id_column, timestamp_column=timestamp_column, target=target, freq=freq
    )  # fmt: skip
    found = diagnose_panel(panel.values, panel.offsets, season_length=season_length)
    columns: dict[str, Any] = {
        "length": found.length,
        "num_observed": found.num_observed,
        "num_trailing_missing": found.num_trailing_missing,
        **found.findings,
        "diagnosis": found.names,
        "fallback": found.fallback,
    }
    return make_item_frame(panel, columns, id_column=id_column)


def diagnose_panel(values: FloatArray, offsets: IntArray, *, season_length: int | None = None) -> Diagnosis:
    """Find what is unusual about series that lie end to end, all at once.

    Parameters
    ----------
    values, offsets
        (N,) with NaN where missing, and where each series starts (I + 1,); none is empty.
    season_length
        As in `diagnose`.

    Notes
    -----
    A series is ``constant`` if it has two observed values or more, all equal; of ``tiny_spread`` if its range is below
    1e-9 of its size, so that rounding is most of what moves; ``intermittent`` if it is never negative and 30 % of it
    is zero; of ``exponential_growth`` if a line fits its logarithm far better than itself and it grew fourfold;
    ``out_of_range`` beyond 1e15 in size.
    """
    starts, length = offsets[:-1], np.diff(offsets)
    seen = np.isfinite(values)
    count = np.add.reduceat(seen.astype(np.int64), starts)
    safe = np.maximum(count, 1)
    filled = np.where(seen, values, 0.0)
    largest = np.maximum.reduceat(np.abs(filled), starts)
    low = np.minimum.reduceat(np.where(seen, values, np.inf), starts)
    high = np.maximum.reduceat(np.where(seen, values, -np.inf), starts)
    spread = np.where(count > 0, high / 2 - low / 2, 0.0) * 2.0 if largest.max() < 1e300 else _wide_spread(low, high)
    zeros = np.add.reduceat((seen & (values == 0)).astype(np.int64), starts)
    trailing = _trailing_missing(seen, offsets)
    any_seen, constant = count > 0, (count > 1) & (low == high)
    unit = np.repeat(np.where(largest > 0, largest, 1.0), length)
    line = _line_fit(filled / unit, seen, offsets)
    positive = any_seen & (low > 0)
    logs = np.log(np.where(seen & np.repeat(positive, length), values, 1.0))
    log_line = _line_fit(logs, seen, offsets, back=filled / unit, unit=unit)
    enough = (count >= MIN_FOR_TREND) & ~constant
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        grown = positive & (np.exp(np.abs(log_line.rise)) > GROWTH_FACTOR)
    exponential = enough & grown & (log_line.error < GROWTH_GAIN * line.error) & (log_line.rise > 0)
    least = SHORT if season_length is None else max(SHORT, 2 * season_length)
    findings = {
        "all_missing": ~any_seen,
        "too_short": any_seen & (count < least),
        "mostly_missing": any_seen & (count < (1 - MOSTLY_MISSING) * length),
        "stale_end": any_seen & (trailing > 0),
        "constant": constant,
        "tiny_spread": ~constant & (count > 1) & (spread < 1e-9 * largest),
        "intermittent": any_seen & (low >= 0) & ~constant & (zeros >= INTERMITTENT * safe),
        "exponential_growth": exponential,
        "strong_trend": enough & (line.explained > STRONG_TREND),
        "out_of_range": largest > HUGE,
    }
    return Diagnosis(findings, length, count, np.where(any_seen, trailing, length))


def warn_of_blind_windows(panel: Panel, is_missing: BoolArray) -> None:
    """Warn of items (I,) that have values, but none as late as the model reads; those without any are known by now."""
    blind = panel.item_ids[is_missing & np.logical_or.reduceat(~np.isnan(panel.values), panel.offsets[:-1])]
    if len(blind):
        text = f"no observed value within the context in {len(blind)} of {panel.num_items} items, first {blind[0]!r}"
        warn(f"{text}: their predictions are missing")


def _wide_spread(low: FloatArray, high: FloatArray) -> FloatArray:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.nan_to_num(high - low, nan=0.0)


def _trailing_missing(seen: BoolArray, offsets: IntArray) -> IntArray:
    """Missing points (I,) after the last observed one."""
    place = np.where(seen, np.arange(len(seen)), -1)
    last = np.maximum.reduceat(place, offsets[:-1])
    return np.where(last >= 0, offsets[1:] - 1 - last, np.diff(offsets))


@dataclass(frozen=True)
class _Line:
    explained: FloatArray  # (I,) share of the variance
    rise: FloatArray  # (I,) of the line, from the first to the last point
    error: FloatArray  # (I,) squared error


def _line_fit(
    values: FloatArray, seen: BoolArray, offsets: IntArray, *, back: FloatArray | None = None, unit: Any = None
) -> _Line:
    """Least-squares line through each series; with `back`, the error of exp(line) / unit from those values."""
    starts, length = offsets[:-1], np.diff(offsets)
    time = np.arange(len(values)) - np.repeat(starts, length)
    time = time / np.repeat(np.maximum(length - 1, 1), length)

    def mean(x: FloatArray) -> FloatArray:
        total: FloatArray = np.add.reduceat(np.where(seen, x, 0.0), starts)
        average: FloatArray = total / np.maximum(np.add.reduceat(seen.astype(np.float64), starts), 1.0)
        return average

    centred_time = time - np.repeat(mean(time), length)
    centred = values - np.repeat(mean(values), length)
    spread = mean(centred_time**2)
    slope = mean(centred * centred_time) / np.where(spread > 0, spread, 1.0)
    total = mean(centred**2)
    left = mean((centred - np.repeat(slope, length) * centred_time) ** 2)
    explained = np.where(total > 1e-24, 1.0 - left / np.where(total > 0, total, 1.0), 0.0)
    if back is not None:
        line = np.repeat(mean(values), length) + np.repeat(slope, length) * centred_time
        left = mean((np.exp(np.clip(line - np.log(unit), -700.0, 5.0)) - back) ** 2)
    return _Line(explained, slope, left)


def _join(parts: list[Any]) -> ObjectArray:
    """Names (I,) of the findings, joined by commas."""
    table = np.stack(parts, axis=1)
    joined = [",".join(filter(None, row)) for row in table]
    result = np.empty(len(joined), dtype=object)
    result[:] = joined
    return result
