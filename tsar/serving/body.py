"""Refuses bodies that are too large before anything reads them whole."""

from __future__ import annotations

from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

DRAINED = 4  # times the limit: read and thrown away, so that the client reads the answer instead of a broken connection


class BodyLimit:
    """ASGI middleware: at most so many bytes, whether announced or not.

    Parameters
    ----------
    app
        What is behind.
    max_bytes
        Longest body.
    refuse
        ASGI application that answers instead.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int, refuse: ASGIApp) -> None:
        self.app, self.max_bytes, self.refuse = app, max_bytes, refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body, then pass it on or refuse it."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self.app(scope, receive, send)
            return
        chunks: list[Any] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            chunk = message.get("body", b"")
            size += len(chunk)
            if size <= self.max_bytes:
                chunks.append(chunk)
            if not message.get("more_body", False) or size > DRAINED * self.max_bytes:
                break
        if size > self.max_bytes:
            chunks.clear()
            await self.refuse(scope, receive, send)
            return
        whole: list[Message] = [{"type": "http.request", "body": b"".join(chunks), "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        await self.app(scope, replay, send)
