"""Listening, and stopping without losing what was accepted."""

from __future__ import annotations

import logging
import math
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from fastapi import FastAPI

from tsar.errors import ServeError


def listen(app: FastAPI, bound: socket.socket, *, drain_seconds: float, log_level: str = "info") -> None:
    """Serve an application on a listening socket until a signal says to stop; open requests are answered first."""
    config = uvicorn.Config(
        app, log_level=log_level, access_log=False, server_header=False, ws="none",
        timeout_graceful_shutdown=math.ceil(drain_seconds),
    )  # fmt: skip
    logging.getLogger("uvicorn.error").addFilter(_is_no_upgrade)
    _Server(config).run(sockets=[bound])


def _is_no_upgrade(record: logging.LogRecord) -> bool:
    """Leave out what uvicorn says of a client that asks for a web socket: to install a library that is not wanted."""
    return not str(record.msg).startswith(("Unsupported upgrade request", "No supported WebSocket library"))


class _Server(uvicorn.Server):
    """Says where it listens: uvicorn does so only for sockets that it opened itself."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for one in sockets or []:
            host, port = one.getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            logging.getLogger("uvicorn.error").info("Listening on http://%s:%d (Ctrl+C ends it)", shown, port)


@contextmanager
def bind(host: str, port: int) -> Iterator[socket.socket]:
    """A listening socket, taken before anything is loaded, so that a wrong port is told at once.

    Raises
    ------
    ServeError
        ``serve.failed`` if the address cannot be used.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        made = socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        text = f"Nothing can listen on {host} port {port}: {error}."
        raise ServeError(text, code="serve.failed", hint="Choose another --host or --port.") from error
    with made:
        yield made


class _Stopped(BaseException):
    """A signal said to stop."""


@contextmanager
def until_signal() -> Iterator[None]:
    """End the block quietly at SIGTERM or SIGINT, from its first line on.

    The first process of a container ignores SIGTERM unless it has a handler, and loading a model takes seconds. uvicorn
    has handlers of its own while it serves; when it is done it raises the signal again, which would kill the process.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise _Stopped

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    except _Stopped:
        pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
