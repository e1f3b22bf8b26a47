"""Spans around the steps of an answer. Without a configured tracer, as in flows and commands, they cost nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.util.types import AttributeValue

_tracer = trace.get_tracer("mindset")


def trace_id() -> str | None:
    """Return the id of the current trace, 32 hexadecimal digits, if it is sampled."""
    return span_ids().get("trace")


def span_ids() -> dict[str, str]:
    """Return the ids of the current trace and span under their names in logs; empty if the trace is not sampled."""
    context = trace.get_current_span().get_span_context()
    if not (context.is_valid and context.trace_flags.sampled):
        return {}
    return {"trace": f"{context.trace_id:032x}", "span": f"{context.span_id:016x}"}


def set_attributes(**attributes: AttributeValue) -> None:
    """Set attributes of the current span."""
    trace.get_current_span().set_attributes(attributes)


def start_client_span(server: str, operation: str, **attributes: AttributeValue) -> trace.Span:
    """Start a span for a request to another server. The code that reads the response ends it."""
    return _tracer.start_span(f"{server}.{operation}", kind=trace.SpanKind.CLIENT, attributes=attributes)


@contextmanager
def span(name: str, **attributes: AttributeValue) -> Iterator[trace.Span]:
    """Record a step, named `noun.verb`, with the attributes that explain its duration; errors are recorded by class."""
    with _tracer.start_as_current_span(name, attributes=attributes) as started:
        yield started
