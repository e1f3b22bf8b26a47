"""Parsing in a child process: a parser that crashes, hangs or eats memory costs one document, not the night.

The child speaks JSON lines and raw bytes over its pipes rather than multiprocessing's pickles, so that a parser taken
over by a document cannot send objects, and so that it imports nothing but the parsers.
"""

from __future__ import annotations

import dataclasses
import json
import queue
import subprocess
import sys
import threading
from pathlib import PurePosixPath
from types import TracebackType
from typing import Any, Self

from mindset.errors import DocumentRejected
from mindset.parsing import registry
from mindset.parsing.document import ParsedDocument

MEMORY_BYTES = 2_000_000_000


class ParserPool:
    """Parses documents, the risky formats in up to `children` child processes; thread-safe. Close it by `with`."""

    def __init__(self, children: int = 2, timeout_s: float = 60.0) -> None:
        self._timeout_s = timeout_s
        self._idle: queue.LifoQueue[_Child | None] = queue.LifoQueue()
        for _ in range(children):
            self._idle.put(None)
        self._children = children

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _ in range(self._children):
            child = self._idle.get()
            if child:
                child.kill()

    def parse(self, uri: str, raw: bytes) -> ParsedDocument:
        """As `registry.parse`; also raises DocumentRejected when the child crashes or takes too long."""
        if PurePosixPath(uri).suffix.lower() not in registry.ISOLATED:
            return registry.parse(uri, raw)
        child = self._idle.get()
        try:
            child = child if child and child.alive else _Child()
            return child.parse(uri, raw, self._timeout_s)
        finally:
            self._idle.put(child)


class _Child:
    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mindset.parsing.sandbox"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()

    def parse(self, uri: str, raw: bytes, timeout_s: float) -> ParsedDocument:
        assert self._process.stdin and self._process.stdout
        header = json.dumps({"uri": uri, "bytes": len(raw)}).encode() + b"\n"
        watchdog = threading.Timer(timeout_s, self._process.kill)
        watchdog.start()
        try:
            self._process.stdin.write(header + raw)
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = b""
        finally:
            in_time = watchdog.is_alive()
            watchdog.cancel()
        if not line.endswith(b"\n"):
            self.kill()
            what = "crashed" if in_time else f"took more than {timeout_s:g} s"
            raise DocumentRejected(f"The parser {what}. Save the document again from its program, or leave it out.")
        answer: dict[str, Any] = json.loads(line)
        if "rejected" in answer:
            raise DocumentRejected(answer["rejected"])
        acl = answer.pop("acl")
        return ParsedDocument(**answer, acl=None if acl is None else tuple(acl))


def _serve() -> None:
    """The child: documents in, one JSON line each out, until its input ends."""
    _limit()
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # a parser's prints must not mix with answers
    while header := source.readline():
        request = json.loads(header)
        try:
            answer = dataclasses.asdict(registry.parse(request["uri"], source.read(request["bytes"])))
        except DocumentRejected as rejected:
            answer = {"rejected": str(rejected)}
        except MemoryError:
            answer = {"rejected": f"Needs more than {MEMORY_BYTES / 1e9:.0f} GB to parse. Split the document."}
        sink.write(json.dumps(answer).encode() + b"\n")
        sink.flush()


def _limit() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # macOS refuses to lower RLIMIT_AS
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


if __name__ == "__main__":
    _serve()
