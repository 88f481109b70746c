"""A table larger than memory, in parts of whole items: the rows of an item lie together, batches cut anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq

from tsar.errors import FrameError

ROWS_PER_PART = 400_000
"""Rows that are forecast together: enough for full batches, little beside the model's own memory."""


def read_parts(
    path: Path, columns: Sequence[str], id_column: str, rows_per_part: int = ROWS_PER_PART
) -> Iterator[pd.DataFrame]:
    """Read a parquet file in parts of whole items, at constant memory.

    Parameters
    ----------
    path
        Of the file; what its row groups are does not matter.
    columns
        To read.
    id_column
        Its items: the rows of each lie together, see `require_contiguous`.
    rows_per_part
        Parts end with the first item that ends after so many rows.

    Yields
    ------
    pandas.DataFrame
        All rows, in their order.
    """
    with pq.ParquetFile(path, pre_buffer=False) as file:
        batches = file.iter_batches(batch_size=max(rows_per_part // 4, 1), columns=list(columns), use_threads=False)
        yield from join_items((batch.to_pandas() for batch in batches), id_column, rows_per_part)


def join_items(
    frames: Iterable[pd.DataFrame], id_column: str, rows_per_part: int = ROWS_PER_PART
) -> Iterator[pd.DataFrame]:
    """Join frames whose ends may cut through an item to frames of whole items.

    Parameters
    ----------
    frames
        One after the other they hold the rows of each item together.
    id_column
        Column of the ids.
    rows_per_part
        As in `read_parts`.

    Yields
    ------
    pandas.DataFrame
        Rows as they came, with a new index.
    """
    waiting: list[pd.DataFrame] = []
    rows = 0
    for frame in frames:
        waiting.append(frame)
        rows += len(frame)
        if rows <= rows_per_part:
            continue
        table = pd.concat(waiting, ignore_index=True)
        end = _start_of_last_run(table[id_column])
        if end:
            yield table.iloc[:end]
        waiting = [table.iloc[end:]]  # of an item longer than a part, all rows wait
        rows = len(waiting[0])
    if rows:
        yield pd.concat(waiting, ignore_index=True)


def _start_of_last_run(ids: pd.Series) -> int:
    heads = np.flatnonzero(_is_head(ids))
    return int(heads[-1])


def _is_head(ids: pd.Series) -> npt.NDArray[np.bool_]:
    """Tell at which rows (N,) the id differs from the one before; missing ids are one item."""
    codes, _ = pd.factorize(ids, use_na_sentinel=False)
    heads = np.ones(len(codes), dtype=bool)
    heads[1:] = codes[1:] != codes[:-1]
    return heads


def require_contiguous(path: Path, id_column: str) -> int:
    """Count the items of a parquet file from its id column alone, and refuse one whose items do not lie together.

    Keeps eight bytes per item.

    Raises
    ------
    FrameError
        ``frame.scattered_rows`` with the first item that comes back.
    """
    seen = np.empty(0, dtype=np.uint64)
    last: Any = None
    with pq.ParquetFile(path, pre_buffer=False) as file:
        for batch in file.iter_batches(batch_size=ROWS_PER_PART, columns=[id_column], use_threads=False):
            ids = batch.to_pandas()[id_column]
            heads = ids[_is_head(ids)]
            if len(seen) and _same(heads.iloc[0], last):
                heads = heads.iloc[1:]
            last = ids.iloc[-1]
            hashes = pd.util.hash_array(heads.astype(str).to_numpy(dtype=object))
            back = _repeats(hashes, seen)
            if back.any():
                raise _scattered(path, heads.iloc[int(np.argmax(back))])
            seen = np.sort(np.concatenate([seen, hashes]), kind="stable")
    return len(seen)


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) if not (pd.isna(one) or pd.isna(other)) else bool(pd.isna(one) and pd.isna(other))


def _repeats(hashes: npt.NDArray[np.uint64], seen: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Tell which of the new hashes were seen before, or come twice among themselves."""
    again = pd.Series(hashes).duplicated().to_numpy()
    if not len(seen):
        return again
    place = np.minimum(np.searchsorted(seen, hashes), len(seen) - 1)
    result: npt.NDArray[np.bool_] = again | (seen[place] == hashes)
    return result


def _scattered(path: Path, item_id: Any) -> FrameError:
    return FrameError(
        f"{path}: the rows of an item do not lie together, and the file is too large to be sorted in memory",
        code="frame.scattered_rows",
        item_ids=[item_id],
        hint="sort it by the id column, for example with polars: scan_parquet(a).sort('item_id').sink_parquet(b)",
    )
