"""Prepare a corpus: renew its manifest, report its overlap with held-out sets, pack it into one small file.

    python pretrain/prepare_corpus.py --data ../shared/data/corpus --update-manifest
    python pretrain/prepare_corpus.py --data ../shared/data/corpus --overlap report.json
    python pretrain/prepare_corpus.py --data ../shared/data/corpus --pack corpus.pack --max-mb 45

Without an action it prints the sources and their weights.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tsar.errors import TsarError
from tsar.storage import write_atomically
from tsar.training.manifest import Manifest, load_manifest, manifest_weights, verify_files
from tsar.training.overlap import make_overlap_report
from tsar.training.pack import Part, write_pack
from tsar.training.shards import read_shard
from tsar.training.survey import survey_manifest

MANIFEST = Path(__file__).parent / "corpus" / "manifest.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script and return its exit status."""
    options = make_parser().parse_args(arguments)
    try:
        if options.update_manifest:
            update_manifest(options.data, options.manifest)
        manifest = load_manifest(options.manifest)
        verify_files(manifest, options.data)
        if options.overlap:
            report_overlap(manifest, options.data, options.held_out, options.overlap)
        if options.pack:
            pack(manifest, options.data, options.pack, options.max_mb)
        if not (options.update_manifest or options.overlap or options.pack):
            print_sources(manifest)
    except TsarError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="FOLDER", help="the corpus: one parquet file per source")
    add("--manifest", type=Path, default=MANIFEST, metavar="FILE", help="default: %(default)s")
    add("--update-manifest", action="store_true", help="renew hashes, counts and weights in the manifest")
    add("--overlap", type=Path, metavar="FILE", help="write the overlap with the held-out sets as JSON")
    add("--held-out", type=Path, metavar="FOLDER", help="held-out sets for --overlap (default: DATA/../dev_eval)")
    add("--pack", type=Path, metavar="FILE", help="write a packed corpus")
    add("--max-mb", type=float, default=45.0, metavar="MB", help="size of the pack in 10^6 bytes (default: 45)")
    return parser


def update_manifest(data: Path, path: Path) -> None:
    """Write the manifest anew from the files; what was written by hand is kept."""
    old = load_manifest(path) if path.is_file() else Manifest(sources=())
    new = survey_manifest(data, old)
    write_atomically(path, new.to_json().encode())
    print(f"{path}: {len(new.sources)} sources")


def report_overlap(manifest: Manifest, data: Path, held_out: Path | None, path: Path) -> None:
    """Write the overlap report."""
    held_out = held_out or data.parent / "dev_eval"
    shards = (read_shard(data / source.file) for source in manifest.sources)
    report = make_overlap_report(shards, (read_shard(file) for file in sorted(held_out.glob("*.parquet"))))
    write_atomically(path, (json.dumps(report, indent=1, ensure_ascii=False) + "\n").encode())
    print(f"{path}: {report['held_out_windows']} held-out windows, matches: {json.dumps(report['matches'])}")


def pack(manifest: Manifest, data: Path, path: Path, max_mb: float) -> None:
    """Write the packed corpus and print what was kept of each source."""
    parts = []
    for source in manifest.sources:
        parts += [Part(read_shard(data / source.file, side), side == "validation") for side in ("train", "validation")]
    kept = write_pack(path, parts, manifest_weights(manifest.sources), int(max_mb * 1e6))
    for part in kept:
        shard, side = part.shard, "validation" if part.held_back else "train"
        print(f"{shard.source:28s} {side:10s} {len(shard.lengths):6d} series {len(shard.values):9d} points")
    points = sum(len(part.shard.values) for part in kept)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, {points:,} points")


def print_sources(manifest: Manifest) -> None:
    """Print a table of the sources."""
    for source in sorted(manifest.sources, key=lambda one: -one.weight):
        size = f"{source.series:6d} series {source.points:9d} points"
        print(f"{source.weight:6.2%} {size}  {source.name} ({source.licence})")


if __name__ == "__main__":
    sys.exit(main())
