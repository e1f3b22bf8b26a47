"""Scripted faults of a provider. `after` is the number of pieces of a stream that are sent before the fault."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Fault:
    """A fault that applies to one request."""

    kind: Literal["status", "hang", "pause", "drip", "cut", "garbage", "error_in_stream", "queued"]
    code: int = 0
    retry_after: float | None = None
    after: int = 0
    clean: bool = False
    error: str = ""
    seconds: float = 0.0
    until: threading.Event | None = None


def status(code: int, retry_after: float | None = None) -> Fault:
    """Respond with an error status."""
    return Fault("status", code=code, retry_after=retry_after)


def hang(after: int = 0) -> Fault:
    """Send nothing until the client disconnects or the server stops."""
    return Fault("hang", after=after)


def pause(after: int, until: threading.Event) -> Fault:
    """Wait for an event in the middle of the response, then send the rest."""
    return Fault("pause", after=after, until=until)


def drip(seconds: float = 0.02) -> Fault:
    """Send the correct response byte by byte, with this many seconds between bytes."""
    return Fault("drip", seconds=seconds)


def cut(after: int = 1, *, clean: bool = False) -> Fault:
    """Close the connection in the middle of the response. `clean`: end the HTTP body correctly first."""
    return Fault("cut", after=after, clean=clean)


def garbage() -> Fault:
    """Respond with 200 and an unrelated HTML body."""
    return Fault("garbage")


def error_in_stream(after: int = 1, error: str = "") -> Fault:
    """Send an error event in a stream that started with 200."""
    return Fault("error_in_stream", after=after, error=error)


def queued(polls: int = 1) -> Fault:
    """Respond with 202, and with the result after this many polls (NIM only)."""
    return Fault("queued", after=polls)
