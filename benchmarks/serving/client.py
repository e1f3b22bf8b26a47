"""A minimal HTTP/1.1 client over asyncio, so that the benchmark measures the server and not the client."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Reply:
    """A complete response."""

    status: int
    body: Any
    headers: dict[str, str]


class Client:
    """One persistent connection; an asynchronous context manager."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=2**20)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    def abort(self) -> None:
        """Abort the connection without closing it properly."""
        self._writer.transport.abort()

    async def send(self, method: str, path: str, body: Any = None) -> Reply:
        """Send a request and return the complete response."""
        status, headers = await self._begin(method, path, body)
        raw = b"".join([part async for part in self._parts(headers)])
        return Reply(status, json.loads(raw) if "json" in headers.get("content-type", "") else raw.decode(), headers)

    async def events(self, path: str, body: Any) -> AsyncIterator[tuple[str, bytes, float]]:
        """Yield (name, data, time) of each server-sent event. Comments have no name."""
        status, headers = await self._begin("POST", path, body)
        rest = b""
        async for part in self._parts(headers):
            now = time.perf_counter()
            *events, rest = (rest + part).replace(b"\r\n", b"\n").split(b"\n\n")
            for event in events:
                lines = dict(line.partition(b": ")[::2] for line in event.split(b"\n"))
                yield lines.get(b"event", b"").decode(), lines.get(b"data", b""), now
        if status != 200:
            yield "status", str(status).encode(), time.perf_counter()

    async def _begin(self, method: str, path: str, body: Any) -> tuple[int, dict[str, str]]:
        raw = b"" if body is None else json.dumps(body).encode()
        own = f"host: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {len(raw)}\r\n"
        head = f"{method} {path} HTTP/1.1\r\n{own}\r\n"
        self._writer.write(head.encode() + raw)
        first, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return int(first.split()[1]), headers

    async def _parts(self, headers: dict[str, str]) -> AsyncIterator[bytes]:
        if "content-length" in headers:
            yield await self._reader.readexactly(int(headers["content-length"]))
            return
        if headers.get("transfer-encoding") != "chunked":
            return
        while size := int(await self._reader.readline(), 16):
            yield await self._reader.readexactly(size)
            await self._reader.readexactly(2)
        await self._reader.readline()
