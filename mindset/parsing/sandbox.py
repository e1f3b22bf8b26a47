"""Parse risky formats in child processes: a parser that crashes, hangs or exhausts memory costs one document only.

Parent and child exchange JSON lines and raw bytes over pipes instead of multiprocessing's pickles. A compromised parser
cannot send objects that way, and the child imports only the parsers.
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
"""Memory limit of a child, on Linux."""


class ParserPool:
    """Parses documents, the risky formats in up to `children` child processes. Thread-safe. Close it with `with`."""

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
        """Parse as `registry.parse`. Also raises DocumentRejected if the child crashes or takes too long."""
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
            failure = "crashed" if in_time else f"took more than {timeout_s:g} s"
            raise DocumentRejected(f"The parser {failure}. Save the document again from its program, or exclude it.")
        response: dict[str, Any] = json.loads(line)
        if "rejected" in response:
            raise DocumentRejected(response["rejected"])
        acl = response.pop("acl")
        return ParsedDocument(**response, acl=None if acl is None else tuple(acl))


def _serve() -> None:
    """Run the child: read documents and write one JSON line per document until the input ends."""
    _limit_memory()
    requests, responses = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # a parser may print
    while header := requests.readline():
        request = json.loads(header)
        try:
            response = dataclasses.asdict(registry.parse(request["uri"], requests.read(request["bytes"])))
        except DocumentRejected as rejected:
            response = {"rejected": str(rejected)}
        except MemoryError:
            response = {
                "rejected": f"Parsing needs more than {MEMORY_BYTES / 1e9:.0f} GB of memory. Split the document."
            }
        responses.write(json.dumps(response).encode() + b"\n")
        responses.flush()


def _limit_memory() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # macOS does not allow lowering RLIMIT_AS
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


if __name__ == "__main__":
    _serve()
