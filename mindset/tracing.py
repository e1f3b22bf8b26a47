"""Spans around the steps of an answer. Without a tracer configured, as in nights and commands, they cost nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.util.types import AttributeValue

_tracer = trace.get_tracer("mindset")


def trace_id() -> str | None:
    """The id of the trace that is being recorded, 32 hexadecimal digits."""
    return span_ids().get("trace")


def span_ids() -> dict[str, str]:
    """The ids of the trace and of the step of it that are being recorded, by the names that they have in logs."""
    context = trace.get_current_span().get_span_context()
    if not (context.is_valid and context.trace_flags.sampled):
        return {}
    return {"trace": f"{context.trace_id:032x}", "span": f"{context.span_id:016x}"}


def describe(**attributes: AttributeValue) -> None:
    """Say more of the step that is being recorded."""
    trace.get_current_span().set_attributes(attributes)


def asked_of(server: str, operation: str, **attributes: AttributeValue) -> trace.Span:
    """A span of what another server is asked, to be ended by whoever reads the answer, which may be elsewhere."""
    return _tracer.start_span(f"{server}.{operation}", kind=trace.SpanKind.CLIENT, attributes=attributes)


@contextmanager
def span(name: str, **attributes: AttributeValue) -> Iterator[trace.Span]:
    """A step of the work, named `noun.verb`, with what explains its duration; errors are recorded by their class."""
    with _tracer.start_as_current_span(name, attributes=attributes) as started:
        yield started
