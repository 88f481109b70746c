"""Several targets of each item as one panel: a series for each item and target, item by item."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from tsar.errors import OptionError, once
from tsar.frame.columns import Source
from tsar.frame.covariates import Covariates
from tsar.frame.normalize import normalize_frame
from tsar.frame.panel import Panel
from tsar.types import FloatArray, IntArray


@once()
def normalize_targets(df: Any, *, target: str | Sequence[str], **options: Any) -> Panel:
    """Turn a long frame into a panel with a series for each item and target, item by item.

    Parameters
    ----------
    df
        As of `normalize_frame`.
    target
        One column, which gives what `normalize_frame` does, or several: C of them.
    options
        As of `normalize_frame`; covariates go along with every target of their item.

    Returns
    -------
    Panel
        I * C series; ``item_ids`` has each id C times. All targets of an item have the same stamps.

    Warns
    -----
    TsarWarning
        As `normalize_frame`, for all targets together.

    Raises
    ------
    OptionError
        ``option.invalid`` for targets that are not distinct names; and the errors of `normalize_frame`, which name the
        column.
    """
    names = target_names(target)
    panels = [normalize_frame(df, target=name, **options) for name in names]
    first = panels[0]
    if len(names) == 1:
        return first
    series = np.arange(first.num_items).repeat(len(names))
    values = np.stack([panel.values for panel in panels])
    place = _interleave(first.offsets, len(names))
    flat = values.reshape(-1)[place]
    flat.flags.writeable = False
    return dataclasses.replace(
        first,
        item_ids=first.item_ids[series],
        values=flat,
        offsets=np.concatenate([[0], np.cumsum(first.lengths[series])]),
        starts=first.starts[series],
        source=_repeat_ids(first.source, series),
        covariates=None
        if first.covariates is None
        else _repeat_covariates(first.covariates, place, len(names), series),
    )


def target_names(target: str | Sequence[str]) -> tuple[str, ...]:
    """Names of the targets, or ``option.invalid``."""
    names = (target,) if isinstance(target, str) else tuple(target)
    if not names or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise OptionError(f"target must be a name or a list of distinct names, got {target!r}.", code="option.invalid")
    return names


def _interleave(offsets: IntArray, num_targets: int) -> IntArray:
    """Place of each value of the new panel in the values of all targets, one target after the other."""
    size = int(offsets[-1])
    lengths = np.diff(offsets)
    inside = np.arange(size) - np.repeat(offsets[:-1], lengths)
    new = np.empty(size * num_targets, dtype=np.int64)
    for number in range(num_targets):
        start = np.repeat(offsets[:-1] * num_targets + number * lengths, lengths)
        new[start + inside] = number * size + np.arange(size)
    return new


def _repeat_covariates(
    covariates: Covariates | None, place: IntArray, num_targets: int, series: IntArray
) -> Covariates | None:
    if covariates is None:
        return None
    values: FloatArray = covariates.values[:, place % (len(place) // num_targets)]
    return dataclasses.replace(covariates, values=values, static=covariates.static[:, series])


def _repeat_ids(source: Source, series: IntArray) -> Source:
    if source.ids is None:
        return source
    if source.kind == "polars":
        return dataclasses.replace(source, ids=source.ids.gather(series))
    return dataclasses.replace(source, ids=source.ids.take(pa.array(series) if source.kind == "pyarrow" else series))
