"""Listening, and stopping without losing what was accepted."""

from __future__ import annotations

import math
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from tsar.errors import ServeError


def listen(app: FastAPI, host: str, port: int, *, drain_seconds: float, log_level: str = "info") -> None:
    """Serve an application until a signal says to stop; open requests are answered before it returns.

    Raises
    ------
    ServeError
        ``serve.failed`` if the address cannot be used.
    """
    config = uvicorn.Config(
        app, host=host, port=port, log_level=log_level, access_log=False, server_header=False,
        timeout_graceful_shutdown=math.ceil(drain_seconds),
    )  # fmt: skip
    with _bound(host, port) as sockets, _signals_end_quietly():
        uvicorn.Server(config).run(sockets=sockets)


@contextmanager
def _bound(host: str, port: int) -> Iterator[list[socket.socket]]:
    """A listening socket, taken before anything is loaded, so that a wrong port is told at once."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        made = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        text = f"Nothing can listen on {host} port {port}: {error}."
        raise ServeError(text, code="serve.failed", hint="Choose another --host or --port.") from error
    with made:
        yield [made]


@contextmanager
def _signals_end_quietly() -> Iterator[None]:
    """Return after SIGTERM and SIGINT: uvicorn raises a signal again when it is done, which would kill the process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
