"""Tiny corpora on disk, in the format of the real one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

Series = tuple[str, str | None, np.ndarray]


def write_shard(folder: Path, source: str, series: Sequence[Series]) -> Path:
    """Write (item_id, freq, values) triples as one parquet file."""
    table = pa.table(
        {
            "item_id": pa.array([item_id for item_id, _, _ in series], pa.string()),
            "start": pa.nulls(len(series), pa.timestamp("ms")),
            "freq": pa.array([freq for _, freq, _ in series], pa.string()),
            "target": pa.array([values.astype(np.float32) for _, _, values in series], pa.list_(pa.float32())),
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{source}.parquet"
    pq.write_table(table, path)
    return path


def write_corpus(folder: Path, sources: Mapping[str, tuple[str | None, int, int]], seed: int = 0) -> Path:
    """Write random walks: source to (freq, number of series, length)."""
    dice = np.random.default_rng(seed)
    for source, (freq, count, length) in sources.items():
        write_shard(folder, source, [(f"s{i}", freq, dice.normal(size=length).cumsum()) for i in range(count)])
    return folder
