"""Series -> windows: the last points of every series, cut and padded into batches of similar length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tsar.types import FloatArray, IntArray


@dataclass(frozen=True)
class Batch:
    """Windows that go through the model together.

    Attributes
    ----------
    rows
        (B,) place of each window's series in the panel.
    context
        (B, L) float64, right-aligned, NaN where missing and in the padding at the left.
    """

    rows: IntArray
    context: FloatArray


def make_batches(
    values: FloatArray,
    offsets: IntArray,
    *,
    context_length: int,
    patch_length: int,
    points_per_batch: int,
    rows_per_batch: int | None = None,
    rows_together: int = 1,
) -> Iterator[Batch]:
    """Cut the end of every series and group series of similar length, longest first.

    Parameters
    ----------
    values, offsets
        Series end to end (N,), and where each starts (I + 1,).
    context_length
        Longest context taken, in points; earlier points are dropped.
    patch_length
        Window lengths are rounded up to a multiple of it.
    points_per_batch
        Most points in a batch, padding included (at least one window is always taken).
    rows_per_batch
        Most windows in a batch.
    rows_together
        So many neighbouring series, all of one length, come in one batch, whatever the two limits are.

    Yields
    ------
    Batch
        Each series once; empty series are left out.
    """
    lengths = np.minimum(np.diff(offsets), context_length)
    patches = -(-lengths // patch_length)
    order = np.argsort(-patches, kind="stable")
    order = order[lengths[order] > 0]
    start = 0
    while start < len(order):
        width = int(patches[order[start]]) * patch_length
        size = max(points_per_batch // width, 1)
        size = min(size, rows_per_batch) if rows_per_batch else size
        rows = order[start : start + max(size // rows_together, 1) * rows_together]
        start += len(rows)
        yield Batch(rows, _cut(values, offsets, lengths, rows, width))


def _cut(
    values: FloatArray,
    offsets: IntArray,
    lengths: IntArray,
    rows: IntArray,
    width: int,
) -> FloatArray:
    place = np.arange(-width, 0)
    index = offsets[rows + 1][:, None] + place
    inside = place >= -lengths[rows][:, None]
    return np.where(inside, values[np.maximum(index, 0)], np.nan)
