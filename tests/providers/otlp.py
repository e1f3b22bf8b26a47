"""A collector of OpenTelemetry: takes traces over OTLP/HTTP and keeps their spans."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.providers.http import answered_by
from tests.providers.reply import Reply


class Collector:
    """Use it in a `with`. `spans` are those that came, as protobuf messages."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self._http = answered_by(self._keep)

    @property
    def url(self) -> str:
        return self._http.url

    def __enter__(self) -> Self:
        self._http.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.stop()

    def _keep(self, _method: str, _path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        raw = gzip.decompress(body) if headers.get("Content-Encoding") == "gzip" else body
        request = ExportTraceServiceRequest.FromString(raw)
        self.spans += [span for each in request.resource_spans for scope in each.scope_spans for span in scope.spans]
        return Reply(())

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
