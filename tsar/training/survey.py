"""Make a manifest from the files of a corpus."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tsar.errors import CorpusError
from tsar.training.forbidden import refuse_forbidden
from tsar.training.manifest import Manifest, Source, balanced_weights, file_sha256
from tsar.training.shards import read_shard


def survey_manifest(folder: Path, old: Manifest) -> Manifest:
    """Return a manifest of every parquet file of a folder.

    Hashes, counts and weights come from the files; domain, licence, origin, filters and notes from `old`. A source
    that `old` lacks has the licence ``"unknown"``.

    Raises
    ------
    CorpusError
        ``corpus.missing`` without files, ``corpus.bad_shard``, ``corpus.forbidden``.
    """
    paths = sorted(folder.glob("*.parquet"))
    if not paths:
        raise CorpusError(f"{folder} has no parquet files.", code="corpus.missing")
    refuse_forbidden(path.stem for path in paths)
    known = {source.name: source for source in old.sources}
    shards = [read_shard(path) for path in paths]
    weights = balanced_weights(
        [shard.source for shard in shards for _ in shard.freqs],
        [freq for shard in shards for freq in shard.freqs],
        np.concatenate([shard.lengths for shard in shards]),
    )
    sources = []
    for path, shard in zip(paths, shards, strict=True):
        facts: dict[str, Any] = {
            "file": path.name,
            "sha256": file_sha256(path),
            "frequencies": dict(Counter(freq or "unknown" for freq in shard.freqs).most_common()),
            "series": len(shard.lengths),
            "points": int(shard.lengths.sum()),
            "weights": {kind: round(weight, 6) for (name, kind), weight in weights.items() if name == shard.source},
        }
        blank = Source(name=path.stem, domain="unknown", licence="unknown", origin="unknown", **facts)
        sources.append(replace(known[path.stem], **facts) if path.stem in known else blank)
    return Manifest(sources=tuple(sources))
