"""The test server of the model providers: one port for all of them, and scripted faults."""

from __future__ import annotations

import json
import threading
from collections import defaultdict, deque
from contextlib import ExitStack
from types import TracebackType
from typing import Self
from urllib.parse import unquote

from tests.providers import bedrock, nim
from tests.providers.faults import Fault
from tests.providers.handler import ProviderHandler, Request
from tests.providers.http import HttpServer
from tests.providers.reply import Reply


class ProviderServer:
    """Use it as a context manager. `fail` scripts faults for the next requests."""

    def __init__(self, port: int = 0) -> None:
        self.requests: list[Request] = []
        self.clients = ExitStack()
        """Clients of this server; closed with it."""
        self.stop_reason = "end_turn"
        self.script: str | None = None
        """The answer of every chat, instead of a sentence of the first passage."""
        self.rankings: object = None
        """The rankings of every reranking, instead of computed ones (NIM only)."""
        self.refused_word = ""
        """A request with a text that contains this word is refused as invalid."""
        self.refused_status = 400
        """HTTP status of such a refusal."""
        self.left_early = threading.Event()
        """Set when a client disconnects before the end of its response."""
        self.stopping = threading.Event()
        self._faults: dict[str, deque[Fault]] = defaultdict(deque)
        self._always: dict[str, Fault] = {}
        self._queued: dict[str, tuple[int, Reply]] = {}
        self._lock = threading.Lock()
        self._http = HttpServer(type("Handler", (ProviderHandler,), {"provider": self}), port)

    @property
    def url(self) -> str:
        """Bedrock's `endpoint_url`."""
        return self._http.url

    @property
    def nim_url(self) -> str:
        return f"{self.url}/v1"

    def __enter__(self) -> Self:
        self._http.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clients.close()
        self.stopping.set()
        self._http.stop()

    def fail(self, path: str, *faults: Fault, always: Fault | None = None) -> None:
        """Apply these faults, one per request, and then `always`, to requests whose path ends in `path`."""
        with self._lock:
            self._faults[path].extend(faults)
            if always:
                self._always[path] = always

    def heal(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._faults.clear()
            self._always.clear()

    def answer(self, request: Request) -> tuple[Reply, Fault | None]:
        """Return the reply to a request, and the fault to apply while sending it."""
        with self._lock:
            self.requests.append(request)
            if request.path.startswith("/v1/status/"):
                return self._poll(request.path.rpartition("/")[2]), None
            fault = self._next_fault(request.path)
            speaks_nim = request.path.startswith("/v1/")
            if self.refused_word and self.refused_word in json.dumps(request.body):
                return (nim if speaks_nim else bedrock).error(
                    self.refused_status, f"{self.refused_word} is refused"
                ), None
            if fault and fault.kind == "status":
                reply = (nim if speaks_nim else bedrock).error(fault.code, "simulated failure")
                if fault.retry_after is not None:
                    reply.headers["Retry-After"] = f"{fault.retry_after:g}"
                return reply, None
            if speaks_nim:
                reply = nim.reply(request.method, request.path, request.body, self.script, self.rankings)
            else:
                reply = bedrock.reply(request.path, request.body, self.stop_reason, fault.error if fault else "")
            if fault and fault.kind == "queued":
                name = f"request-{len(self._queued)}"
                self._queued[name] = (fault.after, reply)
                return Reply((b"",), status=202, headers={"NVCF-REQID": name, "NVCF-STATUS": "pending"}), None
            return reply, fault

    def _next_fault(self, path: str) -> Fault | None:
        for suffix, faults in self._faults.items():
            if unquote(path).endswith(suffix):
                return faults.popleft() if faults else self._always.get(suffix)
        return None

    def _poll(self, name: str) -> Reply:
        polls_left, reply = self._queued[name]
        self._queued[name] = (polls_left - 1, reply)
        return reply if polls_left <= 0 else Reply((b"",), status=202, headers={"NVCF-REQID": name})
