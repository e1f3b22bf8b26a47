"""Traces by OpenTelemetry, from a request to its SQL, to Chroma and to the provider, sent over OTLP."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI

from mindset.config.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.sampling import Sampler

_UNTRACED = "livez,readyz,metrics"


def start_tracing(app: FastAPI, settings: Settings) -> Callable[[], None]:
    """Trace what the app does, until what this returns is called; without MINDSET_OTLP_ENDPOINT nothing is even imported.

    Call it before the app serves: its middleware is fixed then. An exporter that cannot send drops spans and says so in
    the log; no request waits for it."""
    if settings.otlp_endpoint is None:
        return lambda: None
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.botocore import BotocoreInstrumentor
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
    from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor
    from opentelemetry.instrumentation.redis import RedisInstrumentor
    from opentelemetry.instrumentation.threading import ThreadingInstrumentor
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.name": "mindset-api", "service.version": version("product-mindset")})
    provider = TracerProvider(resource=resource, sampler=_sampler(settings.trace_sample_rate))
    endpoint = f"{settings.otlp_endpoint.rstrip('/')}/v1/traces"
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=5)))
    trace.set_tracer_provider(provider)
    clients = (
        PsycopgInstrumentor,
        HTTPXClientInstrumentor,
        BotocoreInstrumentor,
        RedisInstrumentor,
        ThreadingInstrumentor,
    )
    instrumented = [each() for each in clients]
    for each in instrumented:
        each.instrument(tracer_provider=provider)
    FastAPIInstrumentor.instrument_app(
        app, tracer_provider=provider, excluded_urls=_UNTRACED, exclude_spans=["receive", "send"]
    )

    def stop() -> None:
        for each in instrumented:
            each.uninstrument()
        provider.shutdown()

    return stop


def _sampler(share: float) -> Sampler:
    """Whoever asks decides, else chance. What no request asked for, such as the SQL of the answer log, is not traced."""
    from opentelemetry.sdk.trace.sampling import (
        Decision,
        ParentBased,
        Sampler,
        SamplingResult,
        StaticSampler,
        TraceIdRatioBased,
    )
    from opentelemetry.trace import SpanKind

    class Requests(Sampler):
        def __init__(self) -> None:
            self._by_chance, self._not = TraceIdRatioBased(share), StaticSampler(Decision.DROP)

        def should_sample(
            self, parent_context: Any, trace_id: int, name: str, kind: Any = None, *more: Any, **named: Any
        ) -> SamplingResult:
            chosen = self._by_chance if kind == SpanKind.SERVER else self._not
            return chosen.should_sample(parent_context, trace_id, name, kind, *more, **named)

        def get_description(self) -> str:
            return f"Requests{{{share}}}"

    return ParentBased(Requests())
