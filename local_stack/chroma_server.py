"""Chroma behind a gate: `python -m local_stack.chroma_server DIRECTORY PORT`.

Chroma checks neither `Host` nor a password, so any program and, by DNS rebinding, any web page could read and delete all
vectors. The gate relays only requests that have the password and come from no web site. Chroma itself listens on an
unguessable loopback address (Linux) or port.

Both are child processes of this one; if one of them ends, all do, and the supervisor starts them again.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import secrets
import signal
import socket
import sys
from contextlib import suppress
from typing import Final

from local_stack.guard import foreign, has_password

PASSWORD: Final = "MINDSET_STACK_CHROMA_PASSWORD"  # noqa: S105  # the variable's name
# Chroma's own command first imports the whole client, which takes 1.5 s longer.
_CHROMA: Final = """
import sys
from local_stack.chroma_server import die_with
die_with(int(sys.argv.pop(1)))
import chromadb_rust_bindings
chromadb_rust_bindings.cli(["chroma", *sys.argv[1:]])
"""
_HEAD_BYTES: Final = 65_536
_CHUNK_BYTES: Final = 1 << 20
_HOP_HEADERS: Final = ("authorization", "x-chroma-token", "expect")
_PDEATHSIG: Final = 1  # PR_SET_PDEATHSIG of Linux


async def serve(directory: str, port: int, password: str) -> None:
    """Start Chroma and relay requests to it. Returns when Chroma ends."""
    host, inner = _hidden_address()
    command = ("-c", _CHROMA, str(os.getpid()), "run", "--path", directory, "--host", host, "--port", str(inner))
    environment = {name: value for name, value in os.environ.items() if name != PASSWORD}
    chroma = await asyncio.create_subprocess_exec(sys.executable, *command, env=environment)
    try:
        gate = _Gate(host, inner, password)
        async with await asyncio.start_server(gate.handle, "127.0.0.1", port, limit=_HEAD_BYTES):
            await chroma.wait()
    finally:
        with suppress(ProcessLookupError):
            chroma.terminate()
        await chroma.wait()


class _Gate:
    def __init__(self, host: str, port: int, password: str) -> None:
        self._host, self._port, self._password = host, port, password

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Check every request of a connection and relay it."""
        try:
            await self._relay(reader, writer)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            pass  # the connection ended, or is not HTTP
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream: asyncio.StreamWriter | None = None
        responses: asyncio.Task[None] | None = None
        try:
            while head := await _read_head(reader):
                line, headers = _parse(head)
                if refusal := self._refusal(line.partition(" ")[0], headers):
                    writer.write(_response(*refusal))
                    await writer.drain()
                    return
                if upstream is None:
                    back, upstream = await asyncio.open_connection(self._host, self._port)
                    responses = asyncio.create_task(_copy(back, writer))
                upstream.write(_without_password(head))
                await _copy_body(reader, upstream, headers)
                if responses is None or responses.done():
                    return
        finally:
            if responses:
                responses.cancel()
            if upstream:
                upstream.close()

    def _refusal(self, method: str, headers: dict[str, str]) -> tuple[str, str] | None:
        if reason := foreign(method, headers):
            return "403 Forbidden", f"Refused: {reason}"
        if not has_password(headers, self._password):
            return "401 Unauthorized", "The password is missing or wrong. Use the address in stack.json."
        if "transfer-encoding" in headers or "upgrade" in headers:
            return "501 Not Implemented", "Send the body with Content-Length."
        return None


async def _read_head(reader: asyncio.StreamReader) -> bytes:
    """Return the request line and headers, or nothing at the end of the connection."""
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""


def _parse(head: bytes) -> tuple[str, dict[str, str]]:
    """Return the request line and the headers. Raises ValueError for what two readers could understand differently."""
    line, *fields = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    headers: dict[str, str] = {}
    for field in fields:
        name, separator, value = field.partition(":")
        name = name.lower()
        if not separator or name != name.strip() or not name or (name in headers and name != "cookie"):
            raise ValueError("invalid header")
        headers[name] = value.strip()
    if "\n" in line or not line.endswith(("HTTP/1.1", "HTTP/1.0")) or any("\n" in field for field in fields):
        raise ValueError("not HTTP/1")
    return line, headers


def _without_password(head: bytes) -> bytes:
    lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    kept = [line for line in lines if line.partition(b":")[0].lower().decode("latin-1") not in _HOP_HEADERS]
    return b"\r\n".join(kept) + b"\r\n\r\n"


async def _copy_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, headers: dict[str, str]) -> None:
    declared = headers.get("content-length", "0")
    if not (declared.isascii() and declared.isdigit()):
        raise ValueError("invalid Content-Length")
    left = int(declared)
    while left:
        part = await reader.read(min(left, _CHUNK_BYTES))
        if not part:
            raise EOFError
        writer.write(part)
        await writer.drain()
        left -= len(part)
    await writer.drain()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Relay responses. If Chroma closes its connection, the client's is closed too."""
    with suppress(OSError):
        while part := await reader.read(_CHUNK_BYTES):
            writer.write(part)
            await writer.drain()
    writer.close()


def _response(status: str, text: str) -> bytes:
    body = text.encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    return head.encode() + body


def _hidden_address() -> tuple[str, int]:
    """Return a free address. All of 127.0.0.0/8 is this machine on Linux: a page would have to guess 2^40 addresses."""
    host = "127.0.0.1"
    if sys.platform == "linux":
        host = f"127.{secrets.randbelow(254) + 1}.{secrets.randbelow(256)}.{secrets.randbelow(254) + 1}"
    with socket.socket() as probe:
        probe.bind((host, 0))
        return host, int(probe.getsockname()[1])


def die_with(parent: int) -> None:
    """Let the kernel kill this process when its parent dies, where it can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit(1)


def main() -> None:
    """Run until Chroma ends or SIGTERM stops both."""
    directory, port = sys.argv[1], int(sys.argv[2])

    async def run() -> None:
        task = asyncio.current_task()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: task and task.cancel())
        with suppress(asyncio.CancelledError):
            await serve(directory, port, os.environ[PASSWORD])

    asyncio.run(run())


if __name__ == "__main__":
    main()
