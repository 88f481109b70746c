"""What a series looks like to the embedding: resampled, standardised, and in interval statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tsar.errors import OptionError
from tsar.types import FloatArray

INTERVALS = (1, 2, 4, 8)
GRID = 64  # points on which interval statistics are taken


def as_series(data: Any) -> list[FloatArray]:
    """Items as arrays (C, L): from (n, L), (n, C, L), or a list of (L,) or (C, L).

    Raises
    ------
    OptionError
        ``option.invalid`` for other shapes, items without a value, infinite values, or differing channels.
    """
    items = [np.asarray(item, dtype=np.float64) for item in data]
    items = [item[None] if item.ndim == 1 else item for item in items]
    for place, item in enumerate(items):
        if item.ndim != 2 or item.size == 0 or np.isinf(item).any():
            text = f"Item {place} must be a series (L,) or channels (C, L) of finite or missing numbers"
            raise OptionError(f"{text}, has shape {item.shape}.", code="option.invalid")
        if len(item) != len(items[0]):
            text = f"Item {place} has {len(item)} channels, the first item {len(items[0])}."
            raise OptionError(text, code="option.invalid")
    if not items:
        raise OptionError("There is no series.", code="option.invalid")
    return items


def resample(series: FloatArray, length: int) -> FloatArray:
    """Bring a series (L,) to `length` points: linear in between, or means of equal bins; what is missing stays so."""
    if len(series) == length:
        return series
    if len(series) < length:
        grid = np.linspace(0, len(series) - 1, length)
        line: FloatArray = np.interp(grid, np.arange(len(series)), series)
        return line
    edges = np.arange(length) * len(series) // length
    seen = np.isfinite(series)
    count = np.add.reduceat(seen.astype(np.float64), edges)
    total = np.add.reduceat(np.where(seen, series, 0.0), edges)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def standardize(series: FloatArray) -> FloatArray:
    """Bring a series to mean 0 and deviation 1; zeros if it never varies. Huge values do not overflow."""
    seen = series[np.isfinite(series)]
    if not len(seen):
        return series
    unit = np.abs(seen).max() or 1.0
    centred = series / unit - (seen / unit).mean()
    scale = np.sqrt(np.nanmean(centred**2))
    result: FloatArray = centred / scale if scale > 1e-12 else centred * 0.0
    return result


def differences(series: FloatArray) -> FloatArray:
    """Steps from point to point (L,), the first one 0."""
    steps: FloatArray = np.diff(series, prepend=series[:1])
    return steps


def statistics_of(series: Sequence[FloatArray]) -> FloatArray:
    """Interval statistics (n, K) of n series of any lengths: mean, deviation and slope of 1, 2, 4, 8 equal parts.

    Of the series and of its steps, in data units, and the logarithms of level, scale and length (interval-statistic
    tokens: VSFormer, 2024). Intervals without an observed value count as 0.
    """
    grid = np.stack([resample(one, GRID) for one in series])
    # a difference of long series would otherwise be one of averages
    steps = np.stack([resample(differences(one), GRID) for one in series])
    columns = [part for values in (grid, steps) for part in _interval_statistics(values)]
    mean, deviation = columns[0], columns[1]
    lengths = np.log(np.array([len(one) for one in series], dtype=np.float64))
    logs = [np.log(np.maximum(np.abs(mean), 1e-12)), np.log(np.maximum(deviation, 1e-12)), lengths]
    return np.stack([*columns, *logs], axis=1)


def _interval_statistics(values: FloatArray) -> list[FloatArray]:
    """Mean, deviation and slope (n,) of each interval of (n, L)."""
    found = []
    unit = np.where(np.isfinite(values), np.abs(values), 0.0).max(1, keepdims=True)
    unit = np.where(unit > 0, unit, 1.0)
    for parts in INTERVALS:
        for part in np.array_split(values / unit, parts, axis=1):
            seen = np.isfinite(part)
            count = np.maximum(seen.sum(1), 1)
            mean = np.where(seen, part, 0.0).sum(1) / count
            centred = np.where(seen, part - mean[:, None], 0.0)
            time = np.linspace(-1.0, 1.0, part.shape[1])
            found += [mean, np.sqrt((centred**2).sum(1) / count), (centred * time).sum(1) / count]
    return [column * unit[:, 0] for column in found]
