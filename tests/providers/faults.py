"""What a provider may do wrong. `after` counts the pieces of a stream that are sent before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Fault:
    """One wrong behaviour, for one request."""

    kind: Literal["status", "hang", "drip", "cut", "garbage", "error_in_stream", "queued"]
    code: int = 0
    retry_after: float | None = None
    after: int = 0
    clean: bool = False
    error: str = ""
    seconds: float = 0.0


def status(code: int, retry_after: float | None = None) -> Fault:
    """An error before anything is sent."""
    return Fault("status", code=code, retry_after=retry_after)


def hang(after: int = 0) -> Fault:
    """Silence, until the client gives up or the server stops."""
    return Fault("hang", after=after)


def drip(seconds: float = 0.02) -> Fault:
    """The right answer, byte by byte."""
    return Fault("drip", seconds=seconds)


def cut(after: int = 1, *, clean: bool = False) -> Fault:
    """The connection ends in the middle; `clean`: as if the answer were whole."""
    return Fault("cut", after=after, clean=clean)


def garbage() -> Fault:
    """200, and something else than was asked for."""
    return Fault("garbage")


def error_in_stream(after: int = 1, error: str = "") -> Fault:
    """An error event, after a 200."""
    return Fault("error_in_stream", after=after, error=error)


def queued(polls: int = 1) -> Fault:
    """202, and the answer under an id after so many polls (NIM only)."""
    return Fault("queued", after=polls)
