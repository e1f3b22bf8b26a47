"""From the domain's iterators, which wait for models in threads, to the event loop that serves clients."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from fastapi import Request

from mindset.errors import Overloaded
from mindset.providers.deadline import Deadline

T = TypeVar("T")


@dataclass(frozen=True)
class _Broke:
    error: BaseException


_END = object()


class Streams:
    """One thread an answer in the making; `open` of at most `most`. Close it by `close`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._threads = ThreadPoolExecutor(most, thread_name_prefix="answer")
        self._counting = threading.Lock()
        self.open = 0

    def close(self) -> None:
        """Let no new answer begin; those in the making are cut off by their deadlines."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def begin(self, work: Callable[[], Iterator[T]], deadline: Deadline) -> Stream[T]:
        """Start the work in a thread of its own; what it yields comes out of the stream, in the running event loop.

        Raises Overloaded when as many are open as may be."""
        with self._counting:
            if self.open >= self._most:
                raise Overloaded(
                    f"{self._most} answers are in the making, which is the most of this process. Try again shortly."
                )
            self.open += 1
        stream = Stream[T](deadline)
        # The request's id, its trace and its caller go with it into the thread.
        context = contextvars.copy_context()
        self._threads.submit(context.run, self._produce, work, stream)
        return stream

    def _produce(self, work: Callable[[], Iterator[T]], stream: Stream[T]) -> None:
        try:
            stream.produce(work)
        finally:
            with self._counting:
                self.open -= 1


class Stream(Generic[T]):
    """What one piece of work yields, as it comes. Use it in `async with`: leaving it ends the work."""

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[T | _Broke | object] = asyncio.Queue()
        self._left = threading.Event()

    def produce(self, work: Callable[[], Iterator[T]]) -> None:
        """Do the work, in a thread; errors come out where the events do."""
        try:
            events = work()
            try:
                for event in events:
                    if self._left.is_set():
                        return
                    self._put(event)
            finally:
                if close := getattr(events, "close", None):
                    close()
        except BaseException as error:  # noqa: BLE001  # whoever reads the stream raises it
            self._put(_Broke(error))
        else:
            self._put(_END)

    async def next(self, timeout_s: float | None = None) -> T | None:
        """The next event; None after the last. Raises what the work raised, and TimeoutError."""
        async with asyncio.timeout(timeout_s):
            event = await self._events.get()
        if isinstance(event, _Broke):
            # Whoever waits for the next event takes a TimeoutError for its own.
            raise RuntimeError("the work timed out") if isinstance(event.error, TimeoutError) else event.error
        return None if event is _END else event  # type: ignore[return-value]  # an object is only ever _END

    def leave(self) -> None:
        """Nobody reads any more: end the work, wherever it waits."""
        self._left.set()
        self.deadline.cancel()

    def _put(self, event: T | _Broke | object) -> None:
        try:
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)
        except RuntimeError:
            self._left.set()  # the loop is closed: the process ends


@asynccontextmanager
async def reading(stream: Stream[T]) -> AsyncIterator[Stream[T]]:
    """A stream that is left at the end of the block, however it ends."""
    try:
        yield stream
    finally:
        stream.leave()


async def first_of(stream: Stream[T], request: Request) -> T | None:
    """The next event of a stream; None when the client went away before it came, or it is over."""
    coming, watching = asyncio.ensure_future(stream.next()), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({coming, watching}, return_when=asyncio.FIRST_COMPLETED)
        return await coming if coming.done() else None
    finally:
        coming.cancel()
        watching.cancel()


async def result_of(stream: Stream[T], request: Request) -> T | None:
    """The one event of a stream; None when the client went away before it came."""
    async with reading(stream):
        return await first_of(stream, request)


async def _gone(request: Request) -> None:
    """Return once the client has gone; its body has been read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
