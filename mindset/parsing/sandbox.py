"""Parse risky formats in child processes: a parser that crashes, hangs or exhausts memory costs one document only.

Parent and child exchange JSON lines and raw bytes over pipes instead of multiprocessing's pickles. A compromised parser
cannot send objects that way, and the child imports only the parsers. Every response repeats the number of its request, so
that no document gets the text and rights of another.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import PurePosixPath
from types import TracebackType
from typing import Any, Self

from mindset.errors import DocumentRejected
from mindset.parsing import registry
from mindset.parsing.confinement import confine
from mindset.parsing.document import ParsedDocument
from mindset.parsing.titles import single_line

MEMORY_BYTES = 2_000_000_000
"""Memory limit of a child, on Linux."""

PROGRAM = (sys.executable, "-m", "mindset.parsing.sandbox")
"""The command that starts a child."""

# No secrets: a child needs to find its modules and libraries, and `MINDSET_STACK`, by which a stack ends its processes.
_INHERITED = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "MINDSET_STACK")
_OUTPUT_BYTES = 2_000
"""The end of a child's error output that is kept."""

_REMEDY = "Save the document again from its program, or exclude it."


class ParserPool:
    """Parses documents, the risky formats in up to `children` child processes. Thread-safe. Close it with `with`."""

    def __init__(self, children: int = 2, timeout_s: float = 60.0, program: tuple[str, ...] = PROGRAM) -> None:
        self._timeout_s, self._program = timeout_s, program
        self.unconfined: tuple[str, ...] = ()
        """What the children can reach because this system cannot deny it; known after the first document."""
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
            child = child if child and child.alive else _Child(self._program)
            return child.parse(uri, raw, self._timeout_s)
        finally:
            if child and child.unconfined and not self.unconfined:
                import structlog  # not at the top: the children would import it, too, which takes 60 ms

                self.unconfined = child.unconfined
                structlog.get_logger().warning("parser processes are not confined", reachable=child.unconfined)
            self._idle.put(child)


class _Child:
    def __init__(self, program: tuple[str, ...]) -> None:
        self._process = subprocess.Popen(
            program,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={name: os.environ[name] for name in _INHERITED if name in os.environ},
        )
        self.unconfined: tuple[str, ...] | None = None
        self._requests = 0
        self._output = bytearray()
        self._reader = threading.Thread(target=self._keep_output, name="parser-output", daemon=True)
        self._reader.start()

    def _keep_output(self) -> None:
        """Read the error output, so that the child never waits, and keep the end of it."""
        assert self._process.stderr
        with self._process.stderr as stream:
            while part := os.read(stream.fileno(), _OUTPUT_BYTES):
                self._output += part
                del self._output[:-_OUTPUT_BYTES]

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join(1)  # a process that the child started may keep its output open
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                with contextlib.suppress(OSError):  # it was not read to the end
                    stream.close()

    def _cause(self) -> str:
        """Return how the process ended and its last line of output, for a message."""
        code = self._process.returncode
        how = signal.Signals(-code).name if code and code < 0 and code != -signal.SIGKILL else ""
        lines = [line for line in self._output.decode(errors="replace").splitlines() if line.strip()]
        last = single_line(lines[-1]).rstrip(".") if lines else ""
        cause = ": ".join(filter(None, (how, last)))
        return f" ({cause})" if cause else ""

    def parse(self, uri: str, raw: bytes, timeout_s: float) -> ParsedDocument:
        """Parse a document. Whatever fails except the document ends the process: its response may still be in the pipe."""
        try:
            response = self._exchange(uri, raw, timeout_s)
        except BaseException:
            self.kill()
            raise
        if isinstance(response, str):
            raise DocumentRejected(response)
        return response

    def _exchange(self, uri: str, raw: bytes, timeout_s: float) -> ParsedDocument | str:
        """Send a document and return the response: the parsed document, or why it was rejected."""
        assert self._process.stdin and self._process.stdout
        self._requests += 1
        header = json.dumps({"request": self._requests, "uri": uri, "bytes": len(raw)}).encode() + b"\n"
        line = b""
        watchdog = threading.Timer(timeout_s, self._process.kill)
        watchdog.start()
        try:
            self._process.stdin.write(header + raw)
            self._process.stdin.flush()
            if self.unconfined is None and (hello := self._process.stdout.readline()).endswith(b"\n"):
                self.unconfined = _unconfined(hello)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            pass
        finally:
            in_time = watchdog.is_alive()
            watchdog.cancel()
        if not line.endswith(b"\n"):
            self.kill()  # and wait, to know how it ended
            failure = f"crashed{self._cause()}" if in_time else f"took more than {timeout_s:g} s"
            raise DocumentRejected(f"The parser {failure}. {_REMEDY}")
        return _response(line, self._requests)


def _unconfined(line: bytes) -> tuple[str, ...]:
    """Return what a child could not be denied, from its first line."""
    try:
        names = json.loads(line)
    except ValueError:
        names = None
    if not isinstance(names, list):
        raise DocumentRejected(f"The parser's process did not start properly. {_REMEDY}")
    return tuple(map(str, names))


def _response(line: bytes, request: int) -> ParsedDocument | str:
    """Return the parsed document, or why it was rejected. Raises DocumentRejected if it is no response to this request."""
    try:
        response: dict[str, Any] = json.loads(line)
        if response.pop("request") != request:
            raise ValueError("the response to another request")
        if "rejected" in response:
            return str(response["rejected"])
        acl = response.pop("acl")
        return ParsedDocument(**response, acl=None if acl is None else tuple(acl))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DocumentRejected(f"The parser's response is invalid. {_REMEDY}") from None


def serve() -> None:
    """Run the child: read documents and write one JSON line per document until the input ends.

    The first line that it writes lists what it could not be denied."""
    _limit_memory()
    requests, responses = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # A parser may print, and native code writes to the descriptor. Either goes to the error output, not into a response.
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    confined = False
    while header := requests.readline():
        request = json.loads(header)
        if not confined:
            # Imported before files become read-only, because Python stores compiled modules. No document was read yet.
            importlib.import_module(registry.ISOLATED[PurePosixPath(request["uri"]).suffix.lower()])
            responses.write(json.dumps(confine()).encode() + b"\n")
            confined = True
        try:
            response = dataclasses.asdict(registry.parse(request["uri"], requests.read(request["bytes"])))
        except DocumentRejected as rejected:
            response = {"rejected": str(rejected)}
        except MemoryError:
            response = {
                "rejected": f"Parsing needs more than {MEMORY_BYTES / 1e9:.0f} GB of memory. Split the document."
            }
        responses.write(json.dumps({"request": request["request"], **response}).encode() + b"\n")
        responses.flush()


def _limit_memory() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # macOS does not allow lowering RLIMIT_AS
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


if __name__ == "__main__":
    serve()
