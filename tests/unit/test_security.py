"""Files from strangers: nothing is run, nothing large is allocated on their word, nothing is written elsewhere."""

import io
import json
import os
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load, save

from tsar import Forecaster
from tsar.arrays import read_arrays
from tsar.cli import main
from tsar.errors import ModelError, ReleaseError
from tsar.frame import normalize_frame
from tsar.hub import load_release
from tsar.storage import MANIFEST, make_manifest, read_folder, read_manifest, write_folder

ROOT = Path(__file__).parents[2]
EVIL = ["../../x", "/etc/passwd", "a\x00b", "a", "x" * 3000, "..", "$x_1$", "<script>alert(1)</script>", "~", "\u202e"]


def header_of(shape, length):
    text = json.dumps({"norm.weight": {"dtype": "F32", "shape": shape, "data_offsets": [0, length]}}).encode()
    return struct.pack("<Q", len(text)) + text


HUGE = {
    "shape": {"model.safetensors": header_of([1 << 40], 4 << 40)},
    "product": {"model.safetensors": header_of([1 << 33, 1 << 33], 64) + bytes(64)},
    "header": {"model.safetensors": struct.pack("<Q", 1 << 62) + b"{}"},
    "layers": {"num_layers": 1 << 20},
    "width": {"d_ff": 1 << 20, "d_model": 1 << 20, "context_length": 1 << 20},
    "levels": {"quantile_levels": [n / 200_002 for n in range(1, 200_002)]},
    "span": {"max_span": 10**15},
}
MEASURE = """
import resource, sys
from pathlib import Path
from tsar.errors import TsarError
from tsar.hub import load_release
load_release(Path(sys.argv[1]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for folder in sys.argv[2:]:
    try:
        load_release(Path(folder))
    except TsarError as error:
        print(error.code, end=" ")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
def test_sizes_that_are_claimed_are_not_allocated(tiny_release, tmp_path):
    files = read_folder(tiny_release)
    for name, change in HUGE.items():
        config = json.loads(files["config.json"]) | {} if "model.safetensors" in change else change
        changed = {"config.json": json.dumps(json.loads(files["config.json"]) | config).encode()} | {
            key: value for key, value in change.items() if key == "model.safetensors"
        }
        write_folder(tmp_path / name, files | changed)
    command = [sys.executable, "-c", MEASURE, str(tiny_release), *(str(tmp_path / name) for name in HUGE)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)
    *codes, growth = done.stdout.split()
    assert len(codes) == len(HUGE), (done.stdout, done.stderr)
    assert set(codes) <= {"release.bad_manifest", "model.bad_config"}
    assert int(growth) < 60, "MiB"


def archive(content, *, method=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as writer:
        writer.writestr("a.npy", content)
    return file.getvalue()


def array_header(shape, kind="<f8"):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"", b"PK", archive(array_header((1 << 50,))), archive(array_header((1 << 40, 1 << 40))),
        archive(array_header((3,), "|O") + bytes(24)), archive(bytes(10**6), method=zipfile.ZIP_DEFLATED),
        archive(b"\x93NUMPY"), archive(array_header((3,)) + bytes(23)),
    ],
    ids=["empty", "cut", "petabytes", "two dimensions", "objects", "zeros", "no header", "short"],  # bytes hold a time
)  # fmt: skip
def test_archives_that_claim_too_much_are_refused(content):
    with pytest.raises(ValueError, match="a"):
        read_arrays(content)


def test_arrays_come_back():
    file = io.BytesIO()
    np.savez(file, a=np.arange(3.0), b=np.array("text"), c=np.zeros((0, 2)))
    arrays = read_arrays(file.getvalue())
    assert {name: values.tolist() for name, values in arrays.items()} == {"a": [0.0, 1.0, 2.0], "b": "text", "c": []}


@pytest.mark.parametrize("name", ["x" * 5000, "a/" * 3000 + "b", "\ud800", "a\x00b", "manifest.json/x"])
def test_names_that_no_file_can_have(tmp_path, name):
    (tmp_path / MANIFEST).write_text(json.dumps({"sha256": {name: "0" * 64}}))
    with pytest.raises(ReleaseError) as caught:
        read_folder(tmp_path)
    assert caught.value.code in ("release.missing_file", "release.unsafe_path")


@pytest.mark.parametrize("file", [MANIFEST, "config.json"])
def test_json_without_a_bottom(tiny_release, tmp_path, file):
    deep = b"[" * 200_000
    write_folder(tmp_path / "r", read_folder(tiny_release) | ({} if file == MANIFEST else {file: deep}))
    if file == MANIFEST:
        (tmp_path / "r" / file).write_bytes(deep)
    with pytest.raises(ReleaseError) as caught:
        load_release(tmp_path / "r")
    assert caught.value.code == "release.bad_manifest"


def test_a_saved_forecaster_reads_its_own_weights_only(tiny_release, tmp_path):
    frame = pd.DataFrame({"item_id": "a", "timestamp": range(40), "target": np.arange(40.0)})
    Forecaster(str(tiny_release), prediction_length=2).fit(frame).save(tmp_path / "saved")
    files = read_folder(tmp_path / "saved")
    options = json.loads(files["options.json"]) | {"model": "../../elsewhere"}
    write_folder(tmp_path / "saved", files | {"options.json": json.dumps(options).encode()}, kind="forecaster")
    with pytest.raises(ReleaseError, match="elsewhere"):
        Forecaster.load(tmp_path / "saved")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Glyph")
def test_ids_never_become_paths(tiny_release, tmp_path, monkeypatch):
    inside = tmp_path / "in" / "side"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    hours = pd.date_range("2024-01-01", periods=60, freq="h")
    walks = [(item_id, np.random.default_rng(n).normal(size=60)) for n, item_id in enumerate(EVIL)]
    frame = pd.concat([pd.DataFrame({"item_id": name, "timestamp": hours, "target": y}) for name, y in walks])
    frame.to_parquet("data.parquet", index=False)
    common = ["data.parquet", "--model", str(tiny_release)]
    written = {"data.parquet", "f.csv", "f.png", "page.html", "points.csv", "where.csv", "d.svg"}
    assert main(["forecast", *common, "--prediction-length", "3", "--output", "f.csv", "--plot", "f.png"]) == 0
    assert main(["detect", *common, "--output", "points.csv", "--intervals", "where.csv", "--plot", "d.svg"]) == 0
    assert main(["report", *common, "--prediction-length", "3", "--output", "page.html", "--windows", "1"]) == 0
    assert {path.name for path in inside.iterdir()} == written
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["side"]
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    page = (inside / "page.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_ids_that_differ_behind_a_nul_are_different_series():
    ids = ["a", "a\x00b", "a\x00c"]
    frame = pd.DataFrame({"item_id": np.repeat(ids, 4), "timestamp": [0, 1, 2, 3] * 3, "target": np.arange(12.0)})
    for kind in (object, "string"):
        panel = normalize_frame(frame.astype({"item_id": kind}))
        assert panel.item_ids.tolist() == ids
        assert panel.values.tolist() == list(range(12))


def test_a_manifest_is_no_signature_but_holds_what_is_loaded(tiny_release, tmp_path):
    """What SECURITY.md says: damage is noticed; a change with a new manifest is not."""
    files = read_folder(tiny_release)
    weights = load(files["model.safetensors"])
    changed = save({name: value * 2 for name, value in weights.items()})
    write_folder(tmp_path / "r", files)
    (tmp_path / "r" / "model.safetensors").write_bytes(changed)
    with pytest.raises(ReleaseError):
        load_release(tmp_path / "r")
    (tmp_path / "r" / MANIFEST).write_bytes(make_manifest(files | {"model.safetensors": changed}))
    assert load_release(tmp_path / "r") is not None
    assert read_manifest(tmp_path / "r")["sha256"].keys() == files.keys()


def test_a_config_names_no_code(tiny_release, tmp_path):
    files = read_folder(tiny_release)
    for change in ({"auto_map": "x.Y"}, {"class": "os.system"}, {"tokenizer": "module:attr"}, {"scaling": "os.system"}):
        config = json.dumps(json.loads(files["config.json"]) | change).encode()
        write_folder(tmp_path / "r", files | {"config.json": config})
        with pytest.raises(ModelError) as caught:
            load_release(tmp_path / "r")
        assert caught.value.code == "model.bad_config"
