"""A collector of OpenTelemetry: takes traces over OTLP/HTTP and keeps their spans."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collector:
    """Use it in a `with`. `spans` are those that came, as protobuf messages."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                raw = gzip.decompress(raw) if self.headers.get("Content-Encoding") == "gzip" else raw
                request = ExportTraceServiceRequest.FromString(raw)
                collector.spans += [
                    span for each in request.resource_spans for scope in each.scope_spans for span in scope.spans
                ]
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Tests need no access log."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def paths(self) -> set[tuple[str, ...]]:
        """The names from a root to each span."""
        known = {each.span_id: each for each in self.spans}

        def path(span: Any) -> tuple[str, ...]:
            above = known.get(span.parent_span_id)
            return (*(path(above) if above else ()), span.name)

        return {path(each) for each in self.spans}

    def tree(self) -> str:
        """The spans, each below its parent, with their milliseconds."""
        known = {each.span_id for each in self.spans}
        lines: list[str] = []

        def add(span: Any, depth: int) -> None:
            took = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6
            lines.append(f"{'  ' * depth}{span.name} {took:.1f} ms")
            below = (each for each in self.spans if each.parent_span_id == span.span_id)
            for each in sorted(below, key=lambda each: each.start_time_unix_nano):
                add(each, depth + 1)

        for root in (each for each in self.spans if each.parent_span_id not in known):
            add(root, 0)
        return "\n".join(lines)
