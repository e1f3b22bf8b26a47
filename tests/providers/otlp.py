"""An OpenTelemetry collector that receives traces over OTLP/HTTP and keeps their spans."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.providers.http import answered_by
from tests.providers.reply import Reply


class Collector:
    """Use it as a context manager. `spans` are the received spans, as protobuf messages."""

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
        self.spans += [
            span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans
        ]
        return Reply(())

    def paths(self) -> set[tuple[str, ...]]:
        """Return the path of names from the root to each span."""
        by_id = {span.span_id: span for span in self.spans}

        def path(span: Any) -> tuple[str, ...]:
            parent = by_id.get(span.parent_span_id)
            return (*(path(parent) if parent else ()), span.name)

        return {path(span) for span in self.spans}

    def tree(self) -> str:
        """Return the spans as an indented tree with their durations in milliseconds."""
        ids = {span.span_id for span in self.spans}
        lines: list[str] = []

        def add(span: Any, depth: int) -> None:
            milliseconds = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6
            lines.append(f"{'  ' * depth}{span.name} {milliseconds:.1f} ms")
            children = (child for child in self.spans if child.parent_span_id == span.span_id)
            for child in sorted(children, key=lambda child: child.start_time_unix_nano):
                add(child, depth + 1)

        for root in (span for span in self.spans if span.parent_span_id not in ids):
            add(root, 0)
        return "\n".join(lines)
