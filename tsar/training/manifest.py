"""The manifest: which sources a corpus is made of, under which licence, and how often each is drawn."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tsar.errors import CorpusError
from tsar.training.forbidden import refuse_forbidden

FORMAT_VERSION = 1

FREQUENCY_SHARES: Mapping[str, float] = {
    "sub-hourly": 0.17,
    "hourly": 0.27,
    "daily": 0.20,
    "weekly": 0.08,
    "monthly": 0.14,
    "quarterly": 0.05,
    "yearly": 0.09,
    "unknown": 0.005,
}
"""Relative share of windows that each class of frequencies should have, before aggregation."""

MAX_SOURCE_SHARE = 0.08
"""No source gets a larger share of the windows."""

SHARE_PER_PART = 5e-5
"""No group gets more than this share per disjoint part of `PART` points, or few short series would be memorised."""

PART = 64

_SLACK = 4.0  # small corpora get wider caps: the caps of all groups sum to at least this

_CLASSES = {
    "h": "hourly",
    "D": "daily",
    "B": "daily",
    "W": "weekly",
    "MS": "monthly",
    "ME": "monthly",
    "QS": "quarterly",
    "QE": "quarterly",
    "YS": "yearly",
    "YE": "yearly",
    **dict.fromkeys(("ns", "us", "ms", "s", "min"), "sub-hourly"),
}


@dataclass(frozen=True, kw_only=True)
class Source:
    """One source of the corpus.

    Attributes
    ----------
    name, file
        Its name and its parquet file within the corpus folder.
    sha256
        Of the file.
    domain, licence, origin
        What it is about, under which licence as far as known, and where it was got.
    frequencies
        Pandas alias (``"unknown"`` where there is none) to number of series.
    series, points
        How many.
    weights
        Class of frequencies to share of the windows; they sum to `weight`, all sources' to 1.
    filters
        What was taken out before the file was written.
    note
        What else a reader should know.
    """

    name: str
    file: str
    sha256: str
    domain: str
    licence: str
    origin: str
    frequencies: dict[str, int]
    series: int
    points: int
    weights: dict[str, float]
    filters: list[str] = field(default_factory=list)
    note: str = ""

    @property
    def weight(self) -> float:
        """Share of the windows drawn from this source."""
        return sum(self.weights.values())


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The sources of a corpus and its `format_version`."""

    sources: tuple[Source, ...]
    format_version: int = FORMAT_VERSION

    def to_json(self) -> str:
        """Return the manifest as text."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"


def load_manifest(path: str | Path) -> Manifest:
    """Read a manifest.

    Raises
    ------
    CorpusError
        ``corpus.missing`` without the file, ``corpus.bad_manifest`` if it cannot be read or has unknown keys,
        ``corpus.forbidden`` if a source must not be trained on.
    """
    path = Path(path)
    if not path.is_file():
        raise CorpusError(f"There is no manifest at {path}.", code="corpus.missing")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if set(content) != {"sources", "format_version"} or content["format_version"] != FORMAT_VERSION:
            raise ValueError(f"expected format_version {FORMAT_VERSION} and sources")
        sources = tuple(_parse_source(entry) for entry in content["sources"])
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CorpusError(f"{path} is not a corpus manifest: {error}.", code="corpus.bad_manifest") from error
    refuse_forbidden(source.name for source in sources)
    return Manifest(sources=sources)


def manifest_weights(sources: Iterable[Source]) -> dict[tuple[str, str], float]:
    """Return (source, class of frequencies) to weight."""
    return {(source.name, kind): weight for source in sources for kind, weight in source.weights.items()}


def verify_files(manifest: Manifest, folder: Path) -> None:
    """Raise unless every file of the manifest is in the folder as it was when the manifest was made.

    Raises
    ------
    CorpusError
        ``corpus.missing`` or ``corpus.bad_shard``.
    """
    for source in manifest.sources:
        path = folder / source.file
        if not path.is_file():
            raise CorpusError(f"{path} of the manifest is missing.", code="corpus.missing")
        if file_sha256(path) != source.sha256:
            raise CorpusError(f"{path} differs from the manifest.", code="corpus.bad_shard", hint="Renew the manifest.")


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def frequency_class(freq: str | None) -> str:
    """Return the class of a pandas alias, a key of `FREQUENCY_SHARES`: ``"15min"`` is sub-hourly."""
    unit = re.match(r"\d*([A-Za-z]+)", freq or "")
    return _CLASSES.get(unit.group(1), "unknown") if unit else "unknown"


def balanced_weights(
    sources: Sequence[str], freqs: Sequence[str], lengths: NDArray[np.int64]
) -> dict[tuple[str, str], float]:
    """Return how often to draw each group: the series of one source whose frequencies are of one class.

    Points are shared very unevenly: energy, weather and cloud metrics hold most, while monthly, quarterly and yearly
    series are many but short. So every class of frequencies gets its share of `FREQUENCY_SHARES`; within a class a
    group gets a share in proportion to the square root of its points. What `MAX_SOURCE_SHARE` and `SHARE_PER_PART`
    cut off goes to the others; in a corpus too small for them both caps are wider.

    Parameters
    ----------
    sources, freqs, lengths
        (S,) of each series.

    Returns
    -------
    dict
        (source, class) to weight; they sum to 1.
    """
    keys = [(source, frequency_class(freq)) for source, freq in zip(sources, freqs, strict=True)]
    groups = sorted(set(keys))
    place = {key: index for index, key in enumerate(groups)}
    row = np.array([place[key] for key in keys])
    weight = np.sqrt(np.bincount(row, lengths, len(groups)))
    cap = SHARE_PER_PART * np.bincount(row, np.ceil(lengths / PART), len(groups))
    cap = cap * max(1.0, _SLACK / cap.sum())
    max_share = max(MAX_SOURCE_SHARE, 2 / len(set(sources)))
    source_row = np.unique([source for source, _ in groups], return_inverse=True)[1]
    class_names, class_row = np.unique([name for _, name in groups], return_inverse=True)
    target = np.array([FREQUENCY_SHARES[name] for name in class_names])
    for _ in range(200):  # a few dozen rounds settle it; the caps come last so that they hold
        weight = weight * (target / np.bincount(class_row, weight))[class_row]
        weight = np.minimum(weight / weight.sum(), cap)
        total = np.bincount(source_row, weight)
        weight = weight * np.minimum(1, max_share / total)[source_row]
    weight = weight / weight.sum()
    return dict(zip(groups, weight.tolist(), strict=True))


def _parse_source(entry: Any) -> Source:
    names = {one.name for one in fields(Source)}
    if not isinstance(entry, dict) or not set(entry) <= names:
        raise ValueError(f"a source has the keys {sorted(names)}, got {entry!r:.200}")
    texts = ("name", "file", "sha256", "domain", "licence", "origin", "note")
    odd = [name for name in texts if not isinstance(entry.get(name, ""), str)]
    if odd:
        raise ValueError(f"{odd[0]} of a source must be text, got {entry[odd[0]]!r:.200}")
    source = Source(**entry)
    if Path(source.file).name != source.file:
        raise ValueError(f"{source.file!r} is no plain file name")
    if not isinstance(source.weights, dict) or not isinstance(source.frequencies, dict):
        raise ValueError(f"weights and frequencies of {source.name} must be mappings")
    if not all(0 <= weight < float("inf") for weight in source.weights.values()):
        raise ValueError(f"a weight of {source.name} is no number from 0")
    return source
