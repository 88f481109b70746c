"""A corpus larger than memory: prefix sums in files that are mapped, so that a window costs the pages it touches.

``write_mapped`` reads parquet shards a few series at a time and appends to ``sums.bin`` and ``counts.bin``; what stays
in memory is a few numbers a series. A run then reads from the folder as from any other corpus, on a CPU.
"""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tsar.errors import CorpusError, OptionError
from tsar.storage import is_free, replace_folder
from tsar.training.forbidden import FORBIDDEN_SERIES, refuse_forbidden
from tsar.training.manifest import load_manifest, manifest_weights
from tsar.training.shards import Split, held_back_series, on_grid, standardize_series

FACTS = "corpus.json"
FORMAT_VERSION = 1
SERIES_AT_ONCE = 8
_PIECE = 1 << 22
SPLITS: tuple[Split, ...] = ("train", "validation")


@dataclass(frozen=True)
class MappedCorpus:
    """What a folder holds; ``arrays`` and `weights` are the arguments of `Corpus.from_prefix_sums`."""

    source_names: list[str]
    source: NDArray[np.int64]
    freqs: list[str]
    lengths: NDArray[np.int64]
    sums: NDArray[np.float64]
    counts: NDArray[np.int64]
    weights: dict[tuple[str, str], float] | None

    @property
    def arrays(self) -> tuple[list[str], NDArray[np.int64], list[str], NDArray[np.int64], Any, Any]:
        """Names, sources, frequencies, lengths, prefix sums and counts."""
        return self.source_names, self.source, self.freqs, self.lengths, self.sums, self.counts


def write_mapped(corpus: str | Path, folder: str | Path) -> Path:
    """Turn a folder of parquet shards (with its ``manifest.json``, if there is one) into a mapped corpus.

    Parameters
    ----------
    corpus
        As of `Corpus.from_parquet`.
    folder
        New, or an earlier mapped corpus, which is replaced.

    Returns
    -------
    Path
        The folder; give it as ``corpus`` of a recipe.

    Raises
    ------
    CorpusError
        ``corpus.missing`` without shards, ``corpus.bad_shard``, ``corpus.forbidden``.
    OptionError
        ``option.invalid`` if the folder holds anything else, such as the shards themselves.
    """
    corpus, folder = Path(corpus), Path(folder)
    if not (is_free(folder) or is_mapped(folder)):
        text = f"{folder} is there already and no mapped corpus."
        raise OptionError(text, code="option.invalid", hint="Give a new folder.")
    manifest = corpus / "manifest.json"
    sources = load_manifest(manifest).sources if manifest.is_file() else None
    paths = sorted(corpus.glob("*.parquet")) if sources is None else [corpus / source.file for source in sources]
    refuse_forbidden([path.stem for path in paths])
    if not paths:
        raise CorpusError(f"{corpus} has no parquet files.", code="corpus.missing")
    part = folder.with_name(f".part-{folder.name}")
    shutil.rmtree(part, ignore_errors=True)
    writers = {split: _Writer.open(part / split) for split in SPLITS}
    for number, path in enumerate(paths):
        for split, freq, series in _read_series(path):
            writers[split].append(number, freq, series)
    facts: dict[str, Any] = {"format_version": FORMAT_VERSION, "source_names": [path.stem for path in paths]}
    facts["freqs"] = {split: writer.close() for split, writer in writers.items()}
    weights = None if sources is None else manifest_weights(sources)
    facts["weights"] = None if weights is None else [[*group, weight] for group, weight in weights.items()]
    facts["crc32"] = {split: writer.checksums for split, writer in writers.items()}
    (part / FACTS).write_text(json.dumps(facts))
    replace_folder(part, folder)
    shutil.rmtree(part, ignore_errors=True)  # by now the folder that was there before
    return folder


def is_mapped(path: Path) -> bool:
    """Whether a path is the folder of a mapped corpus."""
    return (path / FACTS).is_file()


def read_mapped(folder: Path, split: Split = "train") -> MappedCorpus:
    """Map the files of one split; nothing but the series' sources, frequencies and lengths is read.

    Raises
    ------
    CorpusError
        ``corpus.bad_shard`` if the folder is damaged, or all series are asked for together.
    """
    try:
        facts = json.loads((folder / FACTS).read_text())
        if facts["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format_version {facts['format_version']} is not {FORMAT_VERSION}")
        place = folder / split
        source, lengths = (np.fromfile(place / f"{name}.bin", np.int64) for name in ("source", "lengths"))
        points = int(lengths.sum()) + 1
        _refuse_damage(place, facts, split, "source", "lengths")
        for name in ("sums", "counts"):
            if (place / f"{name}.bin").stat().st_size != 8 * points:
                raise ValueError(f"{name}.bin of {split} has not {points} numbers")
        # copy on write: torch wants arrays that it could write to, the files stay as they are
        sums = np.memmap(place / "sums.bin", np.float64, "c", shape=(points,))
        counts = np.memmap(place / "counts.bin", np.int64, "c", shape=(points,))
        weights = facts["weights"]
        known = None if weights is None else {(name, kind): float(weight) for name, kind, weight in weights}
        return MappedCorpus(facts["source_names"], source, facts["freqs"][split], lengths, sums, counts, known)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise CorpusError(f"{folder} is not a mapped corpus: {error}.", code="corpus.bad_shard") from error


def check_mapped(folder: Path) -> None:
    """Read every file of a mapped corpus once and compare it with the checksums that were written along.

    A run does not: it reads only the pages that its windows touch, and a flipped bit there is another number. Folders
    from before checksums were written have nothing to compare with.

    Raises
    ------
    CorpusError
        ``corpus.bad_shard`` for a file that differs.
    """
    try:
        facts = json.loads((folder / FACTS).read_text())
        for split in SPLITS:
            _refuse_damage(folder / split, facts, split, "source", "lengths", "sums", "counts")
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise CorpusError(f"{folder} is not a mapped corpus: {error}.", code="corpus.bad_shard") from error


def _refuse_damage(place: Path, facts: dict[str, Any], split: str, *names: str) -> None:
    """Compare files with their checksums, in pieces; ValueError for one that differs."""
    for name in names if "crc32" in facts else ():
        checksum = 0
        with open(place / f"{name}.bin", "rb") as file:
            while piece := file.read(_PIECE):
                checksum = zlib.crc32(piece, checksum)
        if checksum != facts["crc32"][split][name]:
            raise ValueError(f"{name}.bin of {split} is damaged")


@dataclass
class _Writer:
    """Appends series to the files of one split."""

    files: dict[str, BinaryIO]
    freqs: list[str]
    checksums: dict[str, int]
    total: float = 0.0
    known: int = 0

    @classmethod
    def open(cls, folder: Path) -> _Writer:
        folder.mkdir(parents=True)
        files: dict[str, BinaryIO] = {}
        for name in ("sums", "counts", "source", "lengths"):
            files[name] = open(folder / f"{name}.bin", "wb")  # noqa: SIM115
        writer = cls(files, [], dict.fromkeys(files, 0))
        writer.write(sums=np.zeros(1), counts=np.zeros(1, np.int64))
        return writer

    def write(self, **arrays: NDArray[Any]) -> None:
        for name, array in arrays.items():
            content = array.tobytes()
            self.files[name].write(content)
            self.checksums[name] = zlib.crc32(content, self.checksums[name])

    def append(self, source: int, freq: str, series: NDArray[np.float64]) -> None:
        values = standardize_series(series, np.array([len(series)]))
        known = np.isfinite(values)
        sums = np.cumsum(np.concatenate([[self.total], on_grid(np.where(known, values, 0))]))[1:]
        counts = self.known + np.cumsum(known, dtype=np.int64)
        self.total, self.known = float(sums[-1]), int(counts[-1])
        self.write(sums=sums, counts=counts, source=np.array([source]), lengths=np.array([len(series)]))
        self.freqs.append(freq)

    def close(self) -> list[str]:
        for file in self.files.values():
            file.close()
        return self.freqs


def _read_series(path: Path) -> Iterator[tuple[Split, str, NDArray[np.float64]]]:
    """Read a shard a few series at a time: the split, frequency and values of each."""
    if not path.is_file():
        raise CorpusError(f"There is no shard at {path}.", code="corpus.missing")
    try:
        item_ids = (
            pq.read_table(path, columns=["item_id"], page_checksum_verification=True)["item_id"]
            .cast(pa.string())
            .to_pylist()
        )
        if len(set(item_ids)) < len(item_ids) or None in item_ids:
            raise CorpusError(f"{path} repeats or lacks an item_id.", code="corpus.bad_shard")
        held_back = held_back_series(path.stem, item_ids)
        file = pq.ParquetFile(path, memory_map=True, pre_buffer=False, page_checksum_verification=True)
        row = 0
        for batch in file.iter_batches(SERIES_AT_ONCE, columns=["freq", "target"]):
            for freq, target in zip(batch["freq"].to_pylist(), batch["target"], strict=True):
                wanted = item_ids[row] not in FORBIDDEN_SERIES.get(path.stem, ()) and target.is_valid
                if wanted and len(target.values):
                    values = target.values.cast(pa.float64()).to_numpy(zero_copy_only=False)
                    split: Split = "validation" if held_back[row] else "train"
                    yield split, freq or "", np.where(np.isfinite(values), values, np.nan)
                row += 1
    except (pa.ArrowException, OSError, AttributeError, KeyError) as error:
        raise CorpusError(f"{path} is not a shard: {error}.", code="corpus.bad_shard") from error
