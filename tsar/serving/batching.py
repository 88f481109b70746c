"""Requests that come at the same time are answered together, in one thread, first come first served."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tsar.errors import ServeError

RETRY_SECONDS = 1


@dataclass(frozen=True)
class _Waiting:
    request: Any
    key: Hashable
    size: int
    answer: asyncio.Future[Any]


class Batcher:
    """A queue in front of a function that answers many requests at once.

    Parameters
    ----------
    run
        Takes a list of requests, gives for each an answer or an exception. Called in one thread, never twice at a time.
    max_waiting
        Requests in the queue; one more is refused.
    max_size
        Sizes of one batch together; a request that is larger goes alone.
    linger_seconds
        How long the first request after a pause waits for others. While a batch runs the next one fills by itself.
    """

    def __init__(
        self, run: Callable[[list[Any]], Sequence[Any]], *, max_waiting: int, max_size: int, linger_seconds: float
    ) -> None:
        self.run = run
        self.max_waiting = max_waiting
        self.max_size = max_size
        self.linger_seconds = linger_seconds
        self.closing = False
        self._waiting: deque[_Waiting] = deque()
        self._came = asyncio.Event()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tsar-serve")
        self._task: asyncio.Task[None] | None = None

    @property
    def num_waiting(self) -> int:
        """Requests in the queue, without those that are being answered."""
        return len(self._waiting)

    @property
    def is_working(self) -> bool:
        """Whether requests are taken."""
        return self._task is not None and not self._task.done() and not self.closing

    def start(self) -> None:
        """Begin; to be called in the event loop."""
        self._task = asyncio.get_running_loop().create_task(self._work())

    async def submit(self, request: Any, *, key: Hashable, size: int) -> Any:
        """Wait for the answer to a request; only requests of one key share a batch.

        Raises
        ------
        ServeError
            ``serve.busy`` or ``serve.closing``; and what `run` gives for this request.
        """
        if self.closing:
            raise ServeError("The server is shutting down.", code="serve.closing", hint="Try again later.")
        if len(self._waiting) >= self.max_waiting:
            text = f"{len(self._waiting)} requests are waiting already."
            raise ServeError(text, code="serve.busy", hint=f"Try again in {RETRY_SECONDS} s.")
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(request, key, size, answer))
        self._came.set()
        return await answer

    async def close(self) -> None:
        """Answer what waits, take nothing new, and end the thread."""
        self.closing = True
        self._came.set()
        if self._task is not None:
            await self._task
        self._thread.shutdown()

    async def _work(self) -> None:
        while self._waiting or not self.closing:
            if not self._waiting:
                self._came.clear()
                await self._came.wait()
                await asyncio.sleep(self.linger_seconds)
                continue
            await self._answer(self._take())

    def _take(self) -> list[_Waiting]:
        """The first in the queue, and those behind it of the same key, up to the size."""
        first = self._waiting.popleft()
        batch, size, rest = [first], first.size, deque[_Waiting]()
        for one in self._waiting:
            fits = one.key == first.key and size + one.size <= self.max_size
            (batch if fits else rest).append(one)
            size += one.size if fits else 0
        self._waiting = rest
        return batch

    async def _answer(self, batch: list[_Waiting]) -> None:
        wanted = [one for one in batch if not one.answer.done()]  # the clients of the others have gone
        if not wanted:
            return
        try:
            loop = asyncio.get_running_loop()
            answers = await loop.run_in_executor(self._thread, self.run, [one.request for one in wanted])
        except Exception as error:
            answers = [error] * len(wanted)
        for one, answer in zip(wanted, answers, strict=True):
            if one.answer.done():
                continue
            if isinstance(answer, Exception):
                one.answer.set_exception(answer)
            else:
                one.answer.set_result(answer)
