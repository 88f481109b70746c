"""Shards: one parquet file per source, read into flat NumPy arrays and split into training and validation series.

A shard has the columns ``item_id`` (string), ``freq`` (pandas alias or null) and ``target`` (list of float, NaN =
missing); other columns are ignored. Nothing here needs torch or pandas.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tsar.errors import CorpusError
from tsar.training.forbidden import FORBIDDEN_SERIES

Split = Literal["train", "validation", "all"]

HELD_BACK_SHARE = 0.02
"""Share of the series of each source that validation gets."""

HELD_BACK_MIN_SERIES = 8
"""A source with fewer series is for training only."""

CLIP = 1e4
"""Standardised values beyond this are clipped."""

GRID = 2.0**20
"""Values are rounded to multiples of 1 / GRID, so that float64 prefix sums and their differences are exact."""


@dataclass(frozen=True)
class Shard:
    """The series of one source, end to end.

    Attributes
    ----------
    source
        Name of the source.
    item_ids
        (S,) strings, unique within the source.
    freqs
        (S,) pandas aliases; ``""`` where unknown.
    values
        (N,) float64; NaN = missing.
    lengths
        (S,) int64, summing to N.
    """

    source: str
    item_ids: tuple[str, ...]
    freqs: tuple[str, ...]
    values: NDArray[np.float64]
    lengths: NDArray[np.int64]

    @property
    def offsets(self) -> NDArray[np.int64]:
        """(S + 1,) where each series begins."""
        return np.concatenate([[0], np.cumsum(self.lengths)]).astype(np.int64)

    def series(self) -> list[NDArray[np.float64]]:
        """Return one view per series."""
        return np.split(self.values, self.offsets[1:-1]) if len(self.lengths) else []

    def take(self, chosen: Sequence[int] | NDArray[np.integer]) -> Shard:
        """Return a shard of the series at the indices `chosen`, in that order."""
        series = self.series()
        return make_shard(
            self.source,
            [self.item_ids[index] for index in chosen],
            [self.freqs[index] for index in chosen],
            [series[index] for index in chosen],
        )


def make_shard(
    source: str, item_ids: Iterable[str], freqs: Iterable[str | None], series: Sequence[NDArray[np.floating]]
) -> Shard:
    """Return a shard of the given arrays; infinite values become missing."""
    flat = np.concatenate([np.asarray(one, dtype=np.float64) for one in series]) if series else np.empty(0)
    flat = np.where(np.isfinite(flat), flat, np.nan)
    lengths = np.array([len(one) for one in series], dtype=np.int64)
    return Shard(source, tuple(item_ids), tuple(freq or "" for freq in freqs), flat, lengths)


def read_shard(path: Path, split: Split = "all") -> Shard:
    """Read one parquet file; the source is named after it. `FORBIDDEN_SERIES` and series without a point are left out.

    Parameters
    ----------
    path
        File with the columns ``item_id``, ``freq`` and ``target``.
    split
        Which series: those of training, those held back for validation, or all.

    Raises
    ------
    CorpusError
        ``corpus.missing`` without the file, ``corpus.bad_shard`` if it cannot be read, lacks a column or repeats an id.
    """
    if not path.is_file():
        raise CorpusError(f"There is no shard at {path}.", code="corpus.missing")
    try:
        table = pq.read_table(path, columns=["item_id", "freq", "target"], page_checksum_verification=True)
        item_ids: list[str] = table["item_id"].cast(pa.string()).to_pylist()
        if len(set(item_ids)) < len(item_ids) or None in item_ids:
            raise CorpusError(f"{path} repeats or lacks an item_id.", code="corpus.bad_shard")
        wanted = np.array([item_id not in FORBIDDEN_SERIES.get(path.stem, ()) for item_id in item_ids], dtype=bool)
        if split != "all":
            wanted &= held_back_series(path.stem, item_ids) == (split == "validation")
        wanted &= pc.list_value_length(table["target"]).fill_null(0).to_numpy() > 0
        table = table.filter(pa.array(wanted))
        targets = table["target"].combine_chunks()
        flat = targets.flatten().cast(pa.float64()).to_numpy(zero_copy_only=False)
        lengths = targets.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)
        freqs = tuple(freq or "" for freq in table["freq"].to_pylist())
    except (pa.ArrowException, OSError, AttributeError, UnicodeDecodeError) as error:
        raise CorpusError(f"{path} is not a shard: {error}.", code="corpus.bad_shard") from error
    flat = np.where(np.isfinite(flat), flat, np.nan)
    return Shard(path.stem, tuple(table["item_id"].to_pylist()), freqs, flat, lengths)


def held_back_series(source: str, item_ids: Sequence[str]) -> NDArray[np.bool_]:
    """Tell which series are kept for validation.

    A hash of source and id decides, so a series keeps its side when others come or go. At least one series is held
    back where the source has `HELD_BACK_MIN_SERIES`; none where it has fewer.
    """
    rank = np.array([_unit_hash(f"{source}/{item_id}") for item_id in item_ids])
    if len(rank) < HELD_BACK_MIN_SERIES:
        return np.zeros(len(rank), dtype=bool)
    return rank <= max(HELD_BACK_SHARE, float(rank.min()))


def standardization(series: NDArray[np.floating]) -> tuple[float, float]:
    """Return the median and the scale of a series: the geometric mean of deviation and scaled quartile range.

    The deviation alone is ruled by outliers, the quartile range alone is zero for mostly constant series. The scale
    is 1 where nothing varies.
    """
    known = series[np.isfinite(series)]
    if not len(known):
        return 0.0, 1.0
    ranks = [(len(known) - 1) * quarter // 4 for quarter in (1, 2, 3)]
    lower, median, upper = np.partition(known, ranks)[ranks]
    deviation = float(known.std())
    if not deviation > 0:
        return float(median), 1.0
    robust = max(float(upper - lower) / 1.349, 1e-2 * deviation)
    return float(median), float(np.sqrt(deviation * robust))


def standardize_series(values: NDArray[np.floating], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return `values` with every series centred and scaled by `standardization` and clipped at ±`CLIP`."""
    out = np.empty(len(values), dtype=np.float32)
    start = 0
    for length in lengths.tolist():
        part = values[start : start + length]
        loc, scale = standardization(part)
        out[start : start + length] = np.clip((part - loc) / scale, -CLIP, CLIP)
        start += length
    return out


def on_grid(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return values rounded to multiples of 1 / `GRID`."""
    scaled = values.astype(np.float64) * GRID
    np.rint(scaled, out=scaled)
    scaled /= GRID
    return scaled


def _unit_hash(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2.0**64


def drop_constant(shard: Shard) -> Shard:
    """Leave out series that do not have two different known values."""
    keep = [index for index, series in enumerate(shard.series()) if _varies(series[np.isfinite(series)])]
    return shard if len(keep) == len(shard.lengths) else shard.take(keep)


def cut_shard(shard: Shard, share: float, *, min_segment: int = 4096) -> Shard:
    """Return about `share` of the points of a shard, from as many of its series as possible.

    Every series is cut to a segment at a random place; where that would make them shorter than `min_segment`, some
    series are left out instead. The same shard and share give the same result.
    """
    dice = np.random.default_rng(len(shard.lengths))
    segment = np.ceil(share * shard.lengths).astype(np.int64)
    segment = np.minimum(shard.lengths, np.maximum(segment, min_segment))
    order = dice.permutation(len(segment))
    kept = np.sort(order[np.cumsum(segment[order]) <= share * shard.lengths.sum() + min_segment])
    start = (dice.random(len(kept)) * (shard.lengths[kept] - segment[kept] + 1)).astype(np.int64)
    series = shard.series()
    return make_shard(
        shard.source,
        [shard.item_ids[index] for index in kept],
        [shard.freqs[index] for index in kept],
        [series[index][first : first + size] for index, first, size in zip(kept, start, segment[kept], strict=True)],
    )


def _varies(known: NDArray[np.floating]) -> bool:
    return len(known) > 1 and bool(known.min() < known.max())
