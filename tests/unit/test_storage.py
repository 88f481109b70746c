"""Folders are whole or absent: through kill -9 at any moment, and damage of every kind is noticed."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from tsar.errors import OptionError, ReleaseError
from tsar.storage import (
    MANIFEST,
    is_whole,
    read_folder,
    read_manifest,
    validate_destination,
    write_atomically,
    write_folder,
)

FILES = {"a.bin": bytes(range(256)) * 20, "b.txt": "grüße".encode(), "empty": b"", "part/c.bin": b"deep"}


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "release"
    write_folder(path, FILES, name="one", step=3)
    return path


def code_of(folder) -> str:
    with pytest.raises(ReleaseError) as caught:
        read_folder(folder)
    assert not is_whole(folder)
    return caught.value.code


def set_hashes(folder, hashes) -> None:
    (folder / MANIFEST).write_text(json.dumps({"sha256": hashes}))


def test_round_trip(folder):
    assert read_folder(folder) == FILES
    assert is_whole(folder)
    manifest = read_manifest(folder)
    assert (manifest["name"], manifest["step"], sorted(manifest["sha256"])) == ("one", 3, sorted(FILES))
    assert [path.name for path in folder.parent.iterdir()] == ["release"], "nothing is left beside it"


def test_replaces_the_whole_folder(folder):
    write_folder(folder, {"c": b"new"})
    assert read_folder(folder) == {"c": b"new"}
    assert not (folder / "a.bin").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["release"]


def test_a_failing_write_leaves_the_old_folder_and_no_rubbish(folder):
    with pytest.raises(TypeError):
        write_folder(folder, {"good": b"1", "bad": "text is no bytes"})
    assert read_folder(folder) == FILES
    assert [path.name for path in folder.parent.iterdir()] == ["release"]


def test_only_a_folder_of_its_kind_is_replaced(tmp_path):
    mine, other, full, file = (tmp_path / name for name in ("mine", "other", "full", "file"))
    write_folder(mine, FILES, kind="stream")
    write_folder(other, FILES, kind="forecaster")
    full.mkdir()
    (full / "thesis.txt").write_text("years of work")
    file.write_text("a file")
    (tmp_path / "empty").mkdir()
    for fine in (mine, tmp_path / "empty", tmp_path / "new"):
        validate_destination(fine, "stream", "saved stream")
    for path in (other, full, file):
        with pytest.raises(OptionError, match="is there already and no saved stream") as caught:
            validate_destination(path, "stream", "saved stream")
        assert caught.value.code == "option.invalid"


def test_an_empty_folder_is_whole(tmp_path):
    write_folder(tmp_path / "none", {})
    assert read_folder(tmp_path / "none") == {}


@pytest.mark.parametrize("name", list(FILES))
def test_missing_file(folder, name):
    (folder / name).unlink()
    assert code_of(folder) == "release.missing_file"


def test_missing_manifest_and_missing_folder(folder, tmp_path):
    (folder / MANIFEST).unlink()
    assert code_of(folder) == "release.missing_file"
    assert code_of(tmp_path / "nowhere") == "release.missing_file"


@pytest.mark.parametrize("position", [0, 2000, -1])
def test_one_flipped_bit(folder, position):
    content = bytearray(FILES["a.bin"])
    content[position] ^= 1
    (folder / "a.bin").write_bytes(content)
    assert code_of(folder) == "release.bad_hash"


@pytest.mark.parametrize("size", [0, 1, 5119])
def test_truncated_file(folder, size):
    (folder / "a.bin").write_bytes(FILES["a.bin"][:size])
    assert code_of(folder) == "release.bad_hash"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        "null",
        "{}",
        '{"sha256": ["a.bin"]}',
        '{"sha256": 3}',
        '{"sha256": "a.bin"}',
        '{"sha256": null}',
    ],
)
def test_manifest_that_is_none(folder, text):
    (folder / MANIFEST).write_text(text)
    assert code_of(folder) == "release.bad_manifest"


def test_manifest_that_is_no_text(folder):
    (folder / MANIFEST).write_bytes(b"\xff\xfe{}")
    assert code_of(folder) == "release.bad_manifest"


def test_manifest_cut_at_every_tenth_byte(folder):
    whole = (folder / MANIFEST).read_bytes()
    for size in range(0, len(whole) - 1, 10):
        (folder / MANIFEST).write_bytes(whole[:size])
        assert code_of(folder) == "release.bad_manifest"


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "..", ".", "", "a/../b", "a/b/../../..", "sub\\file", "C:x"]
)
def test_names_outside_the_folder_are_refused_without_reading(folder, name):
    (folder.parent / "secret").write_bytes(b"x")
    set_hashes(folder, {name: "0" * 64})
    assert code_of(folder) == "release.unsafe_path"


def test_wrong_types_of_hashes_are_damage(folder):
    set_hashes(folder, {"a.bin": 3})
    assert code_of(folder) == "release.bad_hash"


def test_write_atomically_replaces_and_leaves_nothing_beside(tmp_path):
    path = tmp_path / "new" / "file.json"
    for content in (b"one", b"two"):
        write_atomically(path, content)
        assert path.read_bytes() == content
    assert [one.name for one in path.parent.iterdir()] == ["file.json"]


WRITER = """
import sys, itertools
from pathlib import Path
from tsar.storage import write_folder
root = Path(sys.argv[1])
for turn in itertools.count():
    files = {f"{name}.bin": bytes([turn % 251]) * 30_000 for name in range(4)}
    write_folder(root / f"step-{turn % 5}", files, turn=turn)
    print(turn, flush=True)
"""


def test_kill_at_random_moments_leaves_whole_folders_only(tmp_path):
    dice = random.Random(0)
    for _ in range(15):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": "."}
        )
        process.stdout.readline()
        time.sleep(dice.random() * 0.06)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        folders = list(tmp_path.glob("step-*"))
        assert len(folders) >= 1
        for folder in folders:
            turn = read_manifest(folder)["turn"]
            assert set(read_folder(folder).values()) == {bytes([turn % 251]) * 30_000}
    assert list(tmp_path.glob(".part-*")), "no kill hit a write: the test is too gentle"
