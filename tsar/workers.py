"""Work that joblib spreads over processes: a process that dies is an error of tsar's, with a remedy."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager

from tsar.errors import ResourceError


@contextmanager
def watched_workers() -> Iterator[None]:
    """Around a call of `joblib.Parallel`; the call after one that failed starts fresh processes.

    Raises
    ------
    ResourceError
        ``resource.worker`` if a process ended before its work was done.
    """
    try:
        yield
    except BrokenExecutor as error:
        raise ResourceError(
            "A worker process ended before its work was done.",
            code="resource.worker",
            hint="Most often the system killed it for want of memory: use fewer processes, "
            "with joblib.parallel_config(n_jobs=1) around the call or --jobs 1",
        ) from error
