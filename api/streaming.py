"""The bridge from the domain's iterators, which block in threads, to the event loop that serves clients."""

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
class _Failure:
    error: BaseException


_END = object()


class Streams:
    """Runs each answer in its own thread, at most `limit` at a time. Close it with `close`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._threads = ThreadPoolExecutor(limit, thread_name_prefix="answer")
        self._lock = threading.Lock()
        self.in_progress = 0

    def close(self) -> None:
        """Accept no new answers. Those in progress end by their deadlines."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def start(self, work: Callable[[], Iterator[T]], deadline: Deadline) -> Stream[T]:
        """Start the work in a thread. Its events arrive in the stream, in the running event loop.

        Raises Overloaded if the limit is reached."""
        with self._lock:
            if self.in_progress >= self._limit:
                raise Overloaded(
                    f"{self._limit} answers are in progress, the maximum of this process. Try again shortly."
                )
            self.in_progress += 1
        stream = Stream[T](deadline)
        # The thread inherits the request's id, trace and caller.
        context = contextvars.copy_context()
        self._threads.submit(context.run, self._produce, work, stream)
        return stream

    def _produce(self, work: Callable[[], Iterator[T]], stream: Stream[T]) -> None:
        try:
            stream.produce(work)
        finally:
            with self._lock:
                self.in_progress -= 1


class Stream(Generic[T]):
    """The events of a piece of work. Read it within `reading`, which cancels the work at the end."""

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[T | _Failure | object] = asyncio.Queue()
        self._cancelled = threading.Event()

    def produce(self, work: Callable[[], Iterator[T]]) -> None:
        """Do the work in this thread. Its errors are raised to the reader."""
        try:
            events = work()
            try:
                for event in events:
                    if self._cancelled.is_set():
                        return
                    self._put(event)
            finally:
                if close := getattr(events, "close", None):
                    close()
        except BaseException as error:  # noqa: BLE001  # raised to the reader
            self._put(_Failure(error))
        else:
            self._put(_END)

    async def next(self, timeout_s: float | None = None) -> T | None:
        """Return the next event, or None after the last one. Raises the work's error, or TimeoutError."""
        async with asyncio.timeout(timeout_s):
            event = await self._events.get()
        if isinstance(event, _Failure):
            # The reader would mistake the work's TimeoutError for its own.
            raise RuntimeError("the work timed out") if isinstance(event.error, TimeoutError) else event.error
        return None if event is _END else event  # type: ignore[return-value]  # an object is only ever _END

    def cancel(self) -> None:
        """Stop the work, wherever it is blocked."""
        self._cancelled.set()
        self.deadline.cancel()

    def _put(self, event: T | _Failure | object) -> None:
        try:
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)
        except RuntimeError:
            self._cancelled.set()  # the loop is closed because the process ends


@asynccontextmanager
async def reading(stream: Stream[T]) -> AsyncIterator[Stream[T]]:
    """Yield a stream and cancel it at the end of the block, however that ends."""
    try:
        yield stream
    finally:
        stream.cancel()


async def first_event(stream: Stream[T], request: Request) -> T | None:
    """Return the next event; None if the client disconnects first, or if the stream has ended."""
    event, disconnect = asyncio.ensure_future(stream.next()), asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({event, disconnect}, return_when=asyncio.FIRST_COMPLETED)
        return await event if event.done() else None
    finally:
        event.cancel()
        disconnect.cancel()


async def only_event(stream: Stream[T], request: Request) -> T | None:
    """Return the only event of a stream; None if the client disconnects first."""
    async with reading(stream):
        return await first_event(stream, request)


async def _disconnected(request: Request) -> None:
    """Return when the client has disconnected. The request's body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
