"""Bodies are read here, whole, before anything behind sees them: not too large, too slowly or too many at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tsar.errors import ServeError

if TYPE_CHECKING:
    from tsar.serving.limits import Limits

DRAINED = 4  # times the limit: read and thrown away, so that the client reads the answer instead of a broken connection


class BodyLimit:
    """ASGI middleware: at most so many bytes, whether announced or not, of one request and of all that are open.

    Parameters
    ----------
    app
        What is behind.
    limits
        `max_body_bytes`, `body_seconds` and `max_held_bytes` count here.
    refuse
        Makes the ASGI application that answers instead.
    """

    def __init__(self, app: ASGIApp, *, limits: Limits, refuse: Callable[[ServeError], ASGIApp]) -> None:
        self.app, self.limits, self.refuse = app, limits, refuse
        self.held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body, then pass it on or refuse it."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self.app(scope, receive, send)
            return
        body = bytearray()
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                is_whole = await self._read(body, receive)
        except ServeError as error:
            self._drop(body)
            await self.refuse(error)(scope, receive, send)
            return
        except TimeoutError:
            self._drop(body)
            text = f"The body took more than {self.limits.body_seconds:g} s to come."
            await self.refuse(ServeError(text, code="serve.too_slow"))(scope, receive, send)
            return
        if not is_whole:
            self._drop(body)
            return
        content, size = bytes(body), len(body)
        body.clear()
        try:
            await self._pass_on(content, scope, receive, send)
        finally:
            self.held -= size

    async def _pass_on(self, content: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application answer; it is cancelled where the client leaves before its answer begins."""
        whole: list[Message] = [{"type": "http.request", "body": content, "more_body": False}]
        begun = False

        async def replay() -> Message:
            return whole.pop() if whole else await asyncio.shield(gone)

        async def tell(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        gone = asyncio.ensure_future(_wait_until_gone(receive))
        answering = asyncio.ensure_future(_run(self.app, scope, replay, tell))
        try:
            await asyncio.wait({gone, answering}, return_when=asyncio.FIRST_COMPLETED)
            if answering.done() or begun:
                await answering
        finally:
            gone.cancel()
            answering.cancel()

    async def _read(self, body: bytearray, receive: Receive) -> bool:
        """Whether the body came to its end; False if the client has gone."""
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return False
            chunk = message.get("body", b"")
            size += len(chunk)
            if size <= self.limits.max_body_bytes:
                self.held += len(chunk)
                body += chunk
            else:
                self._drop(body)
            if self.held > self.limits.max_held_bytes:
                text = f"Open requests hold {self.limits.max_held_bytes:,} bytes already."
                raise ServeError(text, code="serve.busy", hint="Try again later, or send less at a time.")
            if not message.get("more_body", False) or size > DRAINED * self.limits.max_body_bytes:
                break
        if size > self.limits.max_body_bytes:
            text = f"The body has more than {self.limits.max_body_bytes:,} bytes."
            raise ServeError(text, code="serve.too_large", hint="Send several requests.")
        return True

    def _drop(self, body: bytearray) -> None:
        self.held -= len(body)
        body.clear()


async def _run(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    await app(scope, receive, send)


async def _wait_until_gone(receive: Receive) -> Message:
    while (message := await receive())["type"] != "http.disconnect":
        pass
    return message
