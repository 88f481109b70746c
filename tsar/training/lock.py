"""One run per folder: a lock that the system gives back when its process ends, however that ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tsar.errors import CheckpointError

LOCK = "lock"


@contextmanager
def run_lock(run_dir: Path) -> Iterator[None]:
    """Hold the folder against a second run; among the processes of one run, the first of a machine holds it.

    The system keeps the lock, not the file: after kill -9 the next run takes over at once, and the number of a dead
    process that another has got since does no harm.

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
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _take(descriptor, path)
        try:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())  # for people who wonder
            yield
        finally:
            path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _take(descriptor: int, path: Path) -> None:
    """Lock an open file, which must still be the one that is there."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_ours = path.exists() and os.path.samestat(os.fstat(descriptor), path.stat())  # else its run just ended
    except BlockingIOError:
        is_ours = False
    if not is_ours:
        who = path.read_text().strip() if path.exists() else ""
        raise CheckpointError(
            f"Process {who or 'unknown'} is training in {path.parent}.",
            code="checkpoint.busy",
            hint="Wait for it, or use another run folder.",
        )
