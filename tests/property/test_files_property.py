"""Files of any content: config, recipe, manifests, weights, CSV and parquet end in a coded error or are read."""

import io
import json
import os
import re
import struct
import subprocess
import sys
from argparse import Namespace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from tsar.cli.tables import read_input
from tsar.errors import CODES, TsarError
from tsar.frame import normalize_targets, panel_from_bytes, panel_to_bytes
from tsar.model.config import ModelConfig
from tsar.model.decoder import Decoder
from tsar.model.files import read_decoder
from tsar.storage import MANIFEST, read_folder
from tsar.training.config import load_recipe
from tsar.training.manifest import load_manifest
from tsar.training.shards import read_shard

few = settings(max_examples=40, deadline=20_000, suppress_health_check=[HealthCheck.function_scoped_fixture])
many = settings(max_examples=800, deadline=20_000, suppress_health_check=[HealthCheck.function_scoped_fixture])
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=8),
    st.sampled_from([0, 1, -1, 1 << 20, 1e308, "NaN", "../x", "sha256", "."]),
)  # fmt: skip
JSON = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner, max_size=4)),
    max_leaves=8,
)  # fmt: skip
SMALL = ModelConfig(
    d_model=8, num_layers=1, num_heads=2, num_kv_heads=1, head_dim=4, d_ff=8, patch_length=4, output_length=8,
    context_length=32, max_span=1,
)  # fmt: skip


def changed(values, draw_keys):
    """A mapping with some of its values, or those of keys it does not have, replaced by anything."""
    return st.dictionaries(st.one_of(st.sampled_from(sorted(values)), draw_keys), JSON, max_size=2).map(
        lambda change: values | change
    )


def flipped(content):
    """The content with a few bytes changed, cut off, or put in."""

    def change(edits):
        data = bytearray(content)
        for place, value, kind in edits:
            at = int(place * len(data))
            if kind == "cut":
                del data[at:]
            elif kind == "insert":
                data[at:at] = bytes([value]) * 3
            elif at < len(data):
                data[at] = value
        return bytes(data)

    edit = st.tuples(st.floats(0, 1), st.integers(0, 255), st.sampled_from(["set", "set", "set", "insert", "cut"]))
    return st.lists(edit, min_size=1, max_size=4).map(change)


def ends_well(call, *arguments):
    """Return what is read, or None after an error with a code."""
    try:
        return call(*arguments)
    except TsarError as error:
        assert error.code in CODES
        assert str(error)
        return None


def weights_of(config):
    return save(dict(Decoder(config).state_dict()))


WEIGHTS = weights_of(SMALL)
(HEADER_SIZE,) = struct.unpack("<Q", WEIGHTS[:8])
HEADER = json.loads(WEIGHTS[8 : 8 + HEADER_SIZE])
WALK = pd.DataFrame({"item_id": ["a"] * 9 + ["b"] * 9, "timestamp": list(range(9)) * 2, "target": np.arange(18.0)})


def parquet(frame):
    file = io.BytesIO()
    frame.to_parquet(file, index=False)
    return file.getvalue()


SHARD = parquet(pd.DataFrame({"item_id": ["a", "b"], "freq": ["h", None], "target": [[1.0, 2.0], [3.0]]}))
PANEL = panel_to_bytes(normalize_targets(WALK, target="target"))
RECIPE = {
    "name": "x",
    "seed": 1,
    "train": {"steps": 3},
    "model": {"d_model": 8},
    "shapes": [{"context_length": 64, "rows": 2}],
}
SOURCE = {
    "name": "a", "file": "a.parquet", "sha256": "0", "domain": "d", "licence": "l", "origin": "o",
    "frequencies": {"h": 1}, "series": 1, "points": 2, "weights": {"hourly": 1.0},
}  # fmt: skip
OPTIONS = {"sha256": {"a": "0" * 64}, "name": "x"}


def config_case(tmp_path, data):
    values = data.draw(changed(SMALL.to_dict(), st.text(max_size=5)))
    files = {"config.json": json.dumps(values).encode(), "model.safetensors": WEIGHTS}
    decoder = ends_well(read_decoder, files, "here")
    assert decoder is None or decoder.config.d_model == 8


def header_case(tmp_path, data):
    entry = {"dtype": "F32", "shape": [8], "data_offsets": [0, 32]}
    name = data.draw(st.sampled_from(sorted(HEADER)))
    change = data.draw(st.one_of(changed(entry, st.text(max_size=3)), JSON))
    text = json.dumps(HEADER | {name: change}).encode()
    size = data.draw(st.sampled_from([len(text), len(text), 0, 1, 2**63]))
    files = {"config.json": json.dumps(SMALL.to_dict()).encode()}
    ends_well(
        read_decoder, files | {"model.safetensors": struct.pack("<Q", size) + text + WEIGHTS[8 + HEADER_SIZE :]}, ""
    )
    ends_well(read_decoder, files | {"model.safetensors": data.draw(flipped(WEIGHTS))}, "")


def manifest_case(tmp_path, data):
    content = data.draw(st.one_of(changed(OPTIONS, st.text(max_size=3)).map(json.dumps).map(str.encode), st.binary()))
    (tmp_path / MANIFEST).write_bytes(content)
    assert not ends_well(read_folder, tmp_path)
    entry = data.draw(changed(SOURCE, st.text(max_size=3)))
    whole = data.draw(st.one_of(st.just({"format_version": 1, "sources": [entry]}), JSON))
    (tmp_path / "corpus.json").write_text(json.dumps(whole))
    ends_well(load_manifest, tmp_path / "corpus.json")


def recipe_case(tmp_path, data):
    path = tmp_path / "r.yaml"
    text = st.one_of(
        changed(RECIPE, st.text(max_size=3)).map(lambda values: yaml.safe_dump(values).encode()),
        flipped(yaml.safe_dump(RECIPE).encode()), st.text(alphabet="{}[]:&*!-'\" \nabc1", max_size=30).map(str.encode),
        st.sampled_from([b"[" * 2000, b"a: &a [*a, *a]", b"!!python/object/apply:os.system [x]", b"d: 2024-99-99"]),
    )  # fmt: skip
    path.write_bytes(data.draw(text))
    ends_well(load_recipe, path)


def table_case(tmp_path, data):
    for name, content in (("t.csv", WALK.to_csv(index=False).encode()), ("t.parquet", parquet(WALK))):
        (tmp_path / name).write_bytes(data.draw(st.one_of(flipped(content), st.binary(max_size=60))))
        said = {"id_column": "item_id", "timestamp_column": "timestamp", "target": "target", "date_format": None}
        options = Namespace(input=tmp_path / name, **said)
        table = ends_well(read_input, options)
        if table is not None:
            names = {"id_column": options.id_column or None, "timestamp_column": options.timestamp_column}
            ends_well(partial(normalize_targets, target=options.target, **names), table)


def shard_case(tmp_path, data):
    (tmp_path / "s.parquet").write_bytes(data.draw(flipped(SHARD)))
    ends_well(read_shard, tmp_path / "s.parquet")
    ends_well(panel_from_bytes, data.draw(flipped(PANEL)))


CASES = [config_case, header_case, manifest_case, recipe_case, table_case, shard_case]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
@few
@given(st.data())
def test_a_coded_error_or_a_result(case, tmp_path, record_property, data):
    case(tmp_path, data)
    record_property("files fuzzed", 1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
@many
@given(st.data())
def test_a_coded_error_or_a_result_many_times(case, tmp_path, record_property, data):
    case(tmp_path, data)
    record_property("files fuzzed", 1)


@pytest.mark.slow
def test_atheris_finds_no_input_that_crashes(tmp_path, record_property):
    pytest.importorskip("atheris")
    root = Path(__file__).parents[2]
    command = [sys.executable, str(root / "pretrain" / "fuzz_files.py"), "--seconds", "20"]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-5000:]
    (executed,) = re.findall(r"number_of_executed_units: (\d+)", done.stderr)
    assert int(executed) > 20  # the whole files and some
    record_property("files fuzzed", int(executed))
