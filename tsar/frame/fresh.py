"""Panels of new items: series that were made and not read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tsar.frame.columns import Source
from tsar.frame.panel import FrameReport, Panel
from tsar.freq import make_grid
from tsar.types import FloatArray, IntArray

FIRST_STAMP = "2000-01-01"  # a Saturday; rolled forward to a stamp of the frequency


def make_fresh_panel(
    values: FloatArray, item_ids: Sequence[str], *, like: Panel | None = None, starts: IntArray | None = None,
    freq: str | None = None,
) -> Panel:  # fmt: skip
    """Make the panel of new series of one length.

    Parameters
    ----------
    values
        (I, N), without missing values.
    item_ids
        I names.
    like
        Panel whose grid, kind of frame and type of stamps they take; None: pandas, and the grid of `freq`.
    starts
        (I,) positions of the first stamps on the grid of `like`; needed with it.
    freq
        Without `like`: an alias, for stamps from `FIRST_STAMP` on; None for integer stamps from 0.

    Raises
    ------
    FrequencyError
        ``frequency.unknown_alias``, ``frequency.unsupported`` for a `freq` that no stamps can have.
    """
    num_items, length = values.shape
    if like is None or starts is None:
        dtype = np.dtype("int64" if freq is None else "datetime64[ns]")
        grid = make_grid(1 if freq is None else freq, dtype)
        first = pd.Index([0]) if grid.freq is None else pd.date_range(FIRST_STAMP, periods=1, freq=grid.freq)
        starts = np.repeat(grid.place(first, np.array([0, 1])), num_items)
        source = Source(kind="pandas", ids=_names("pandas", item_ids), stamp_dtype=None)
    else:
        grid = like.grid
        source = replace(like.source, ids=_names(like.source.kind, item_ids))
    report = FrameReport(
        num_rows=values.size, num_items=num_items, freq_inferred=False, was_sorted=True, inserted_rows=0,
        items_with_gaps=0, missing_values=0, unobserved_items=0, single_value_items=0,
    )  # fmt: skip
    return Panel(
        item_ids=np.array(item_ids, dtype=object), values=values.ravel(), offsets=np.arange(num_items + 1) * length,
        starts=starts, grid=grid, report=report, source=source,
    )  # fmt: skip


def _names(kind: str, item_ids: Sequence[str]) -> Any:
    """The names as a column of the library of the frame."""
    if kind == "polars":
        import polars as pl

        return pl.Series(list(item_ids))
    return pa.array(list(item_ids)) if kind == "pyarrow" else pd.Series(list(item_ids), dtype=object)
