"""The HTTP handler that sends replies and applies their faults."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar, Protocol

from tests.providers.faults import Fault
from tests.providers.reply import Reply


@dataclass(frozen=True)
class Request:
    """A request as received."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class Provider(Protocol):
    """Decides on the reply to each request."""

    left_early: threading.Event
    stopping: threading.Event

    def answer(self, request: Request) -> tuple[Reply, Fault | None]: ...


class ProviderHandler(BaseHTTPRequestHandler):
    """Serves one connection."""

    provider: ClassVar[Provider]
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._serve({})

    def do_POST(self) -> None:
        self._serve(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Write no access log."""

    def _serve(self, body: dict[str, Any]) -> None:
        reply, fault = self.provider.answer(Request(self.command, self.path, dict(self.headers), body))
        try:
            self._send(reply, fault)
        except (BrokenPipeError, ConnectionResetError):
            self.provider.left_early.set()
            self.close_connection = True

    def _send(self, reply: Reply, fault: Fault | None) -> None:
        if fault and fault.kind == "hang" and not fault.after:
            self._wait_for_disconnect()
            return
        if fault and fault.kind == "garbage":
            reply = Reply((b"<html>Welcome to the hotel's network</html>",), content_type="text/html")
        self.send_response(reply.status)
        headers = {"Content-Type": reply.content_type, **reply.headers}
        headers |= (
            {"Transfer-Encoding": "chunked"} if reply.streamed else {"Content-Length": str(sum(map(len, reply.pieces)))}
        )
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        for at, piece in enumerate(reply.pieces):
            if fault and fault.until and at == fault.after:
                fault.until.wait(60)
            if fault and self._ends_before(reply, fault, at):
                return
            self._write(reply, piece, fault)
        if reply.streamed:
            self.wfile.write(b"0\r\n\r\n")

    def _ends_before(self, reply: Reply, fault: Fault, at: int) -> bool:
        """Apply the fault before piece `at`, and return whether it ended the response."""
        if at != fault.after or fault.kind not in {"hang", "cut", "error_in_stream"}:
            return False
        if fault.kind == "hang":
            self._wait_for_disconnect()
        elif fault.kind == "cut" and not fault.clean:
            self.close_connection = True
        else:
            if fault.kind == "error_in_stream":
                self._write(reply, reply.error_piece, None)
            self.wfile.write(b"0\r\n\r\n")
        return True

    def _write(self, reply: Reply, piece: bytes, fault: Fault | None) -> None:
        drips = fault is not None and fault.kind == "drip"
        for part in (piece[at : at + 1] for at in range(len(piece))) if drips else (piece,):
            self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n" if reply.streamed else part)
            if drips and fault:
                self.provider.stopping.wait(fault.seconds)

    def _wait_for_disconnect(self) -> None:
        """Wait until the client disconnects or the server stops."""
        self.connection.settimeout(0.02)
        while not self.provider.stopping.is_set():
            try:
                if not self.connection.recv(1):
                    self.provider.left_early.set()
                    break
            except TimeoutError:
                continue
        self.close_connection = True
