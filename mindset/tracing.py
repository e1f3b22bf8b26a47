"""Spans around the steps of an answer. Without a tracer configured, as in nights and commands, they cost nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.util.types import AttributeValue

_tracer = trace.get_tracer("mindset")


def trace_id() -> str | None:
    """The id of the trace that is being recorded, 32 hexadecimal digits."""
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid and context.trace_flags.sampled else None


@contextmanager
def span(name: str, **attributes: AttributeValue) -> Iterator[trace.Span]:
    """A step of the work, named `noun.verb`, with what explains its duration; errors are recorded by their class."""
    with _tracer.start_as_current_span(name, attributes=attributes) as started:
        yield started
