"""A packed corpus: one small file that loads in seconds, made to travel to the machine that trains.

The file is parquet with one row per series, its values coded by `tsar.training.coding`; parquet's byte-stream split and
zstd do the rest. Weights and format version are in the file's metadata.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tsar.errors import CorpusError, OptionError
from tsar.storage import write_atomically
from tsar.training.coding import code_series, decode
from tsar.training.shards import Shard, Split, cut_shard, drop_constant

FORMAT_VERSION = 1

_METADATA = b"tsar.corpus"
_COMPRESSION_LEVEL = 19
_PAGE_BYTES = 2**19  # each of the four byte planes of a page is then one block of zstd, with a table of its own
_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("freq", pa.string(), nullable=False),
        pa.field("held_back", pa.bool_(), nullable=False),
        pa.field("order", pa.int8(), nullable=False),
        pa.field("slope", pa.float32(), nullable=False),
        pa.field("intercept", pa.float32(), nullable=False),
        pa.field("codes", pa.list_(pa.field("element", pa.int32(), nullable=False)), nullable=False),
        pa.field("missing", pa.list_(pa.field("element", pa.bool_(), nullable=False)), nullable=False),
    ]
)


@dataclass(frozen=True)
class Part:
    """The series of one source on one side of the split between training and validation."""

    shard: Shard
    held_back: bool


@dataclass(frozen=True)
class PackedCorpus:
    """What a pack holds: the first arguments of `tsar.training.corpus.Corpus.from_standardized`."""

    source_names: tuple[str, ...]
    source: NDArray[np.int64]
    freqs: tuple[str, ...]
    lengths: NDArray[np.int64]
    values: NDArray[np.float32]
    weights: dict[tuple[str, str], float]


def write_pack(
    path: Path, parts: Sequence[Part], weights: Mapping[tuple[str, str], float], max_bytes: int
) -> list[Part]:
    """Write as much of the parts as fits: small ones whole, the largest cut, all to the same size in bytes.

    Parameters
    ----------
    path
        File to write, in one step.
    parts
        Series of every source; any order.
    weights
        (source, class of frequencies) to weight, stored along.
    max_bytes
        Limit of the file's size.

    Returns
    -------
    list of Part
        What was written.

    Raises
    ------
    CorpusError
        ``corpus.missing`` if no series varies.
    OptionError
        ``option.invalid`` if not even a short piece of each source fits.
    """
    whole = [Part(drop_constant(part.shard), part.held_back) for part in parts]
    whole = [part for part in whole if len(part.shard.lengths)]
    whole.sort(key=lambda part: (part.shard.source, part.held_back))
    if not whole:
        raise CorpusError("No series to pack.", code="corpus.missing")
    tables = [_make_table(part) for part in whole]
    sizes = [len(_to_parquet([table], {})) for table in tables]
    table_of = {id(part): table for part, table in zip(whole, tables, strict=True)}

    def cut(limit: float) -> tuple[list[Part], bytes]:
        """The parts, each cut to about `limit` bytes, and the file they make."""
        kept = [
            part if size <= limit else Part(drop_constant(cut_shard(part.shard, limit / size)), part.held_back)
            for part, size in zip(whole, sizes, strict=True)
        ]
        kept = [part for part in kept if len(part.shard.lengths)]
        return kept, _to_parquet([table_of.get(id(part)) or _make_table(part) for part in kept], weights)

    least = len(cut(0.0)[1])
    if least > max_bytes:
        text = f"max_bytes is {max_bytes:,}, and a short piece of each source takes {least:,}."
        raise OptionError(text, code="option.invalid", hint="Allow more, or leave sources out.")
    budget = float(max_bytes)
    while True:
        kept, content = cut(_size_limit(sizes, budget))
        if len(content) <= max_bytes:
            write_atomically(path, content)
            return kept
        budget *= 0.995 * max_bytes / len(content)


def read_pack(path: Path, split: Split = "train") -> PackedCorpus:
    """Read the series of a pack that belong to `split`.

    Raises
    ------
    CorpusError
        ``corpus.missing`` without the file, ``corpus.bad_shard`` if it is no pack.
    """
    if not path.is_file():
        raise CorpusError(f"There is no packed corpus at {path}.", code="corpus.missing")
    try:
        facts = json.loads((pq.read_schema(path).metadata or {})[_METADATA])
        if facts["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format_version {facts['format_version']} is not {FORMAT_VERSION}")
        table = _read_groups(path, split)
        codes = table["codes"].combine_chunks()
        lengths = codes.value_lengths().to_numpy().astype(np.int64)
        values = decode(
            codes.flatten().to_numpy(),
            lengths,
            table["order"].to_numpy(),
            table["slope"].to_numpy().astype(np.float64),
            table["intercept"].to_numpy().astype(np.float64),
            _spread(table["missing"].combine_chunks(), lengths),
        )
        weights = {(name, kind): float(weight) for name, kind, weight in facts["weights"]}
    except (pa.ArrowException, OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise CorpusError(f"{path} is not a packed corpus: {error}.", code="corpus.bad_shard") from error
    names, source = np.unique(table["source"].to_numpy(zero_copy_only=False).astype(str), return_inverse=True)
    return PackedCorpus(
        tuple(names.tolist()), source.astype(np.int64), tuple(table["freq"].to_pylist()), lengths, values, weights
    )


def _make_table(part: Part) -> pa.Table:
    """Return the rows of a part, series of like noise together, for the compressor has one table per page."""
    coded = [code_series(series) for series in part.shard.series()]
    place = sorted(range(len(coded)), key=lambda index: (coded[index].order, coded[index].bits))
    rows: dict[str, list[Any]] = {
        "source": [part.shard.source] * len(coded),
        "freq": [part.shard.freqs[index] for index in place],
        "held_back": [part.held_back] * len(coded),
        "order": [coded[index].order for index in place],
        "slope": [coded[index].slope for index in place],
        "intercept": [coded[index].intercept for index in place],
        "codes": [coded[index].codes for index in place],
        "missing": [coded[index].missing if coded[index].missing.any() else [] for index in place],
    }
    return pa.table(rows, schema=_SCHEMA)


def _to_parquet(tables: Sequence[pa.Table], weights: Mapping[tuple[str, str], float]) -> bytes:
    """Return the tables as one file, each in a row group of its own."""
    facts = {"format_version": FORMAT_VERSION, "weights": [[*group, weight] for group, weight in weights.items()]}
    schema = _SCHEMA.with_metadata({_METADATA: json.dumps(facts).encode()})
    buffer = io.BytesIO()
    with pq.ParquetWriter(
        buffer,
        schema,
        compression="zstd",
        compression_level=_COMPRESSION_LEVEL,
        use_dictionary=["source", "freq"],
        column_encoding={"codes.list.element": "BYTE_STREAM_SPLIT"},
        data_page_size=_PAGE_BYTES,
        store_schema=True,
        write_page_checksum=True,
    ) as writer:
        for table in tables:
            writer.write_table(table.replace_schema_metadata(schema.metadata), row_group_size=table.num_rows)
    return buffer.getvalue()


def _read_groups(path: Path, split: Split) -> pa.Table:
    """Read the row groups of one side of the split; a group has one side only."""
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        column = file.schema_arrow.get_field_index("held_back")
        groups = list(range(file.num_row_groups))
        if split != "all":
            side = [file.metadata.row_group(group).column(column).statistics.min for group in groups]
            groups = [group for group in groups if side[group] == (split == "validation")]
        return file.read_row_groups(groups)


def _size_limit(sizes: Sequence[int], budget: float) -> float:
    """Return the limit for each size that makes them fit in the budget together."""
    left = budget
    ascending = sorted(sizes)
    for index, size in enumerate(ascending):
        remaining = len(ascending) - index
        if size * remaining > left:
            return left / remaining
        left -= size
    return float("inf")


def _spread(missing: pa.ListArray, lengths: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which values are missing (N,); a series without any has an empty list."""
    spread = np.zeros(int(lengths.sum()), dtype=bool)
    listed = np.repeat(missing.value_lengths().to_numpy() > 0, lengths)
    spread[listed] = missing.flatten().to_numpy(zero_copy_only=False)
    return spread
