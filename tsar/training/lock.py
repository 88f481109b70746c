"""One run per folder: a lock that the system gives back when its process ends, however that ends."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tsar.errors import CheckpointError

LOCK = "lock"
HELD = "lock-held"
"""Where the system has no locks of files: there while a run is on, and after one that was killed."""

_PLACE = 1 << 30  # the byte that Windows locks; others stay readable, and it need not exist


@contextmanager
def run_lock(run_dir: Path) -> Iterator[None]:
    """Hold the folder against a second run; among the processes of one run, the first of a machine holds it.

    The system keeps the lock (``flock`` of Unix, ``msvcrt.locking`` of Windows), not the file: after kill -9 the next
    run takes over at once, and the number of a dead process that another has got since does no harm. A system that has
    neither gets a second file, `HELD`, which a killed run leaves behind.

    Raises
    ------
    CheckpointError
        ``checkpoint.busy`` while another run holds it.
    """
    if int(os.environ.get("LOCAL_RANK", "0")) > 0:
        yield
        return
    run_dir.mkdir(parents=True, exist_ok=True)
    path = run_dir / LOCK
    lock = _find_lock(run_dir / HELD)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _take(lock, descriptor, path)
        try:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())  # for people who wonder
            yield
        finally:
            _unlink(path)
            (run_dir / HELD).unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _take(lock: Callable[[int], None], descriptor: int, path: Path) -> None:
    """Lock an open file, which must still be the one that is there."""
    try:
        lock(descriptor)
        is_ours = path.exists() and os.path.samestat(os.fstat(descriptor), path.stat())  # else its run just ended
    except (BlockingIOError, PermissionError, FileExistsError):
        is_ours = False
    if not is_ours:
        who = path.read_text().strip() if path.exists() else ""
        left = path.with_name(HELD)
        raise CheckpointError(
            f"Process {who or 'unknown'} is training in {path.parent}.",
            code="checkpoint.busy",
            hint="Wait for it, or use another run folder"
            + (f"; if no run is on, remove {left}, which a killed one left" if left.exists() else ""),
        )


def _find_lock(held: Path) -> Callable[[int], None]:
    """What locks an open file here, or raises an OSError at once if another process has locked it."""
    if fcntl := _module("fcntl"):
        return lambda descriptor: fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if msvcrt := _module("msvcrt"):
        return lambda descriptor: _lock_byte(msvcrt, descriptor)
    return lambda descriptor: os.close(os.open(held, os.O_CREAT | os.O_EXCL))


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _lock_byte(msvcrt: Any, descriptor: int) -> None:
    os.lseek(descriptor, _PLACE, os.SEEK_SET)
    msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    os.lseek(descriptor, 0, os.SEEK_SET)


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except PermissionError:  # Windows keeps a file that is open
        return
