"""Folders that are whole or absent: files are written aside, then a manifest with their hashes, then one rename."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from tsar.errors import OptionError, ReleaseError

MANIFEST = "manifest.json"
_AT_WORKING_FOLDER, _EXCHANGE = -100, 2  # of renameat2(2)


def write_folder(folder: Path, files: Mapping[str, bytes], **facts: Any) -> None:
    """Write `files` (name -> content) and a manifest with their sha256 as one atomic step, replacing `folder`.

    A crash at any moment leaves the old folder, the new one, or, if there was no old one, none; besides perhaps a
    hidden ``.part-…``. A folder that has a manifest is whole. Where the system cannot exchange two
    folders in one step, which Linux can, a crash between two renames leaves the old one as ``.part-…-old-…``.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.parent / f".part-{folder.name}-{uuid.uuid4().hex[:8]}"
    part.mkdir()
    try:
        for name, content in files.items():
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            _write_durably(part / name, content)
        _write_durably(part / MANIFEST, make_manifest(files, **facts))
        _sync_folder(part)
        replace_folder(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def replace_folder(part: Path, folder: Path) -> None:
    """Put `part`, a folder beside it, in the place of `folder` in one step, as `write_folder` does."""
    if not folder.exists():
        os.replace(part, folder)
    elif not _exchange(part, folder):
        _replace_in_two_steps(part, folder)
    _sync_folder(folder.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; False where the system or the file system cannot."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if sys.platform == "linux" else None
    if renameat2 is None:
        return False
    paths = os.fsencode(one), os.fsencode(other)
    return bool(renameat2(_AT_WORKING_FOLDER, paths[0], _AT_WORKING_FOLDER, paths[1], _EXCHANGE) == 0)


def _replace_in_two_steps(part: Path, folder: Path) -> None:
    old = folder.parent / f".part-{folder.name}-old-{uuid.uuid4().hex[:8]}"
    os.replace(folder, old)
    try:
        os.replace(part, folder)
    except OSError:
        os.replace(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, as fsync does the content of files."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_manifest(files: Mapping[str, bytes], **facts: Any) -> bytes:
    """Return the manifest of some files: facts about the folder and the sha256 of each file, as JSON."""
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return json.dumps({**facts, "sha256": hashes}, indent=1, sort_keys=True).encode()


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a folder.

    Raises
    ------
    ReleaseError
        ``release.missing_file`` without one, ``release.bad_manifest`` if it cannot be parsed.
    """
    path = folder / MANIFEST
    if not folder.is_dir():
        raise ReleaseError(f"There is no folder {folder}.", code="release.missing_file")
    if not path.is_file():
        raise ReleaseError(f"{folder} has no {MANIFEST}, so it is not a whole release.", code="release.missing_file")
    try:
        manifest = json.loads(path.read_text())
        hashes = dict(manifest["sha256"])
        names_are_inside = all(_is_inside(name) for name in hashes)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ReleaseError(f"{path} is not a manifest: {error}.", code="release.bad_manifest") from error
    if not names_are_inside:
        raise ReleaseError(f"{path} names a file outside its folder.", code="release.unsafe_path")
    return {**manifest, "sha256": hashes}


def read_folder(folder: Path) -> dict[str, bytes]:
    """Return the content of every file of a manifest after checking its hash.

    Raises
    ------
    ReleaseError
        ``release.missing_file`` or ``release.bad_hash`` names the file that is missing or damaged.
    """
    contents = {}
    for name, expected in read_manifest(folder)["sha256"].items():
        path = folder / name
        if not os.path.isfile(path):  # unlike the method, False for a name that is too long
            raise ReleaseError(f"{path} is missing.", code="release.missing_file", hint="Copy the release again.")
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != expected:
            raise ReleaseError(
                f"{path} differs from its manifest: the file is damaged or was changed.",
                code="release.bad_hash",
                hint="Copy the release again.",
            )
        contents[name] = content
    return contents


def is_free(folder: Path) -> bool:
    """Tell whether a folder is not there, or empty."""
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))


def is_replaceable(folder: Path, kind: str) -> bool:
    """Tell whether a folder is free, or was written as this `kind`, so that replacing it destroys nothing else.

    Raises
    ------
    ReleaseError
        As `read_manifest`, for a folder whose manifest is damaged.
    """
    return is_free(folder) or ((folder / MANIFEST).is_file() and read_manifest(folder).get("kind") == kind)


def validate_destination(folder: Path, kind: str, what: str) -> None:
    """Refuse a folder that `write_folder` would replace, unless it is empty or of the same kind.

    Parameters
    ----------
    folder
        Where something is about to be written.
    kind
        The fact of this name in the manifest of what may be replaced.
    what
        What that is called in the message.

    Raises
    ------
    OptionError
        ``option.invalid``.
    ReleaseError
        As `read_manifest`, for a folder whose manifest is damaged.
    """
    if not is_replaceable(folder, kind):
        text = f"{folder} is there already and no {what}."
        raise OptionError(text, code="option.invalid", hint="Give a new folder.")


def _is_inside(name: object) -> bool:
    """Tell whether a manifest's file name stays within its folder."""
    if not isinstance(name, str) or "\\" in name or ":" in name or "\0" in name:
        return False
    parts = PurePosixPath(name).parts
    return bool(parts) and not name.startswith("/") and ".." not in parts


def is_whole(folder: Path) -> bool:
    """Tell whether every file of the folder's manifest is there and unchanged."""
    try:
        read_folder(folder)
    except (ReleaseError, OSError):
        return False
    return True


def write_atomically(path: Path, content: bytes) -> None:
    """Write one file so that readers see the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.parent / f".part-{path.name}-{uuid.uuid4().hex[:8]}"
    try:
        _write_durably(part, content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _write_durably(path: Path, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
