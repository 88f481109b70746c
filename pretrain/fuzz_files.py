"""Throw damaged files at what reads files: each must end in a coded error or a result.

    python pretrain/fuzz_files.py --seconds 60
    python pretrain/fuzz_files.py --seconds 60 --random

With atheris installed, libFuzzer looks for inputs that reach new lines of tsar; otherwise, and with `--random`, whole
files are changed at random places. The first exception without a code ends the run and is shown with its input.
"""

import argparse
import collections
import io
import json
import random
import struct
import sys
import tempfile
import time
import warnings
from importlib.util import find_spec
from pathlib import Path

MOST_BYTES = 1 << 14


def make_targets(folder):
    """Return the name -> (whole file, reader) of everything that comes from outside; readers get bytes."""
    import numpy as np
    import pandas as pd
    import yaml
    from safetensors.torch import save

    from tsar.arrays import read_arrays
    from tsar.cli.tables import read_input
    from tsar.frame import normalize_targets, panel_from_bytes, panel_to_bytes
    from tsar.model.config import ModelConfig
    from tsar.model.decoder import Decoder
    from tsar.model.files import read_decoder
    from tsar.storage import MANIFEST, read_folder
    from tsar.training.config import load_recipe
    from tsar.training.manifest import load_manifest
    from tsar.training.shards import read_shard

    config = ModelConfig(
        d_model=8, num_layers=1, num_heads=2, num_kv_heads=1, head_dim=4, d_ff=8, patch_length=4, output_length=8,
        context_length=32, max_span=1,
    )  # fmt: skip
    weights = save(dict(Decoder(config).state_dict()))
    (size,) = struct.unpack("<Q", weights[:8])
    settings = json.dumps(config.to_dict()).encode()
    walk = pd.DataFrame({"item_id": ["a"] * 9 + ["b"] * 9, "timestamp": [*range(9)] * 2, "target": [*range(18)]})
    shard = pd.DataFrame({"item_id": ["a", "b"], "freq": ["h", None], "target": [[1.0, 2.0], [3.0]]})
    source = {
        "name": "a", "file": "a.parquet", "sha256": "0", "domain": "d", "licence": "l", "origin": "o",
        "frequencies": {"h": 1}, "series": 1, "points": 2, "weights": {"hourly": 1.0},
    }  # fmt: skip
    recipe = {"name": "x", "seed": 1, "train": {"steps": 3}, "model": {"d_model": 8}, "optim": {"lr": 1e-3}}
    archive = io.BytesIO()
    np.savez(archive, a=np.arange(3.0), b=np.array("text"))

    def as_file(name, read):
        def reader(content):
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
            return read(path)

        return reader

    def table(path):
        said = {"id_column": "item_id", "timestamp_column": "timestamp", "target": "target", "date_format": None}
        options = argparse.Namespace(input=path, **said)
        columns = read_input(options)
        return normalize_targets(
            columns,
            id_column=options.id_column or None,
            timestamp_column=options.timestamp_column,
            target=options.target,
        )

    def header(content):
        return read_decoder({"config.json": settings, "model.safetensors": content + weights[8 + size :]}, "here")

    return {
        "config": (settings, lambda c: read_decoder({"config.json": c, "model.safetensors": weights}, "here")),
        "safetensors header": (weights[: 8 + size], header),
        "release manifest": (b'{"sha256": {"a": "00"}, "name": "x"}', as_file(f"r/{MANIFEST}", lambda p: read_folder(p.parent))),  # noqa: E501
        "corpus manifest": (json.dumps({"format_version": 1, "sources": [source]}).encode(), as_file("c.json", load_manifest)),  # noqa: E501
        "recipe": (yaml.safe_dump(recipe).encode(), as_file("r.yaml", load_recipe)),
        "csv": (walk.to_csv(index=False).encode(), as_file("t.csv", table)),
        "parquet": (walk.to_parquet(index=False), as_file("t.parquet", table)),
        "shard": (shard.to_parquet(index=False), as_file("s.parquet", read_shard)),
        "panel": (panel_to_bytes(normalize_targets(walk, target="target")), panel_from_bytes),
        "arrays": (archive.getvalue(), as_arrays(read_arrays)),
    }  # fmt: skip


def as_arrays(read_arrays):
    """`read_arrays` raises ValueError, which its callers turn into coded errors."""
    from tsar.errors import ReleaseError

    def reader(content):
        try:
            return read_arrays(content)
        except ValueError as error:
            raise ReleaseError(str(error), code="release.bad_manifest") from error

    return reader


def ends_well(reader, content):
    """Return ``read`` or the error's code; any other exception goes on."""
    from tsar.errors import CODES, TsarError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            reader(content)
        except TsarError as error:
            if error.code not in CODES or not str(error):
                raise RuntimeError("an unknown code") from error
            return error.code
    return "read"


def change(content, dice):
    """Return the content with a few bytes set, put in, taken out, doubled, or cut off."""
    data = bytearray(content)
    for _ in range(dice.choice([1, 1, 2, 4])):
        at, kind = (
            dice.randrange(len(data) + 1),
            dice.choice(["set", "set", "flip", "insert", "delete", "double", "cut"]),
        )
        if kind == "insert":
            data[at:at] = dice.choice(
                [b"-", b"9" * 20, b"null", b"[", b'"', b"\0", b"1e999", bytes([dice.randrange(256)])]
            )
        elif kind == "delete":
            del data[at : at + dice.randrange(1, 9)]
        elif kind == "double":
            data[at:at] = data[at : at + dice.randrange(1, 60)]
        elif kind == "cut":
            del data[at:]
        elif at < len(data):
            data[at] = dice.randrange(256) if kind == "set" else data[at] ^ (1 << dice.randrange(8))
    return bytes(data[:MOST_BYTES])


def fuzz_at_random(targets, seconds, seed):
    """Change whole files until the time is over; print how often each was tried and what came."""
    dice, counts = random.Random(seed), collections.Counter()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for name, (whole, reader) in targets.items():
            content = change(whole, dice)
            try:
                counts[name, ends_well(reader, content)] += 1
            except Exception:
                print(f"{name}: {content!r}", flush=True)
                raise
    for name in targets:
        found = {outcome: n for (one, outcome), n in counts.items() if one == name}
        codes = ", ".join(sorted(set(found) - {"read"}))
        print(f"| {name} | {sum(found.values())} | {found.get('read', 0)} | {codes} |")
    print(f"{counts.total()} executions in {seconds} s, seed {seed}")


def fuzz_by_atheris(folder, seconds, seed):
    """Let libFuzzer drive; the first byte of an input says which reader it is for."""
    import atheris

    with atheris.instrument_imports(include=["tsar"]):
        targets = make_targets(folder)
    readers = [reader for _, reader in targets.values()]
    seeds = folder / "seeds"
    seeds.mkdir()
    for number, (whole, _) in enumerate(targets.values()):
        (seeds / str(number)).write_bytes(bytes([number]) + whole)

    def one(data):
        if data:
            ends_well(readers[data[0] % len(readers)], data[1:])

    options = [f"-max_total_time={seconds}", f"-max_len={MOST_BYTES}", f"-seed={seed + 1}", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={Path.cwd()}/", str(seeds)], one)
    atheris.Fuzz()  # ends the process


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--random", action="store_true", help="change files at random even if atheris is there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if find_spec("atheris") and not options.random:
            fuzz_by_atheris(Path(name), options.seconds, options.seed)
        else:
            fuzz_at_random(make_targets(Path(name)), options.seconds, options.seed)


if __name__ == "__main__":
    main()
