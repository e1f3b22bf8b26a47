"""OpenTelemetry traces of requests, including SQL, Chroma and model providers, exported over OTLP."""

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
    """Start tracing the app and return a function that stops it. Without MINDSET_OTLP_ENDPOINT nothing is imported.

    Call it before the app starts, since it adds middleware. If the exporter cannot send spans, it logs that and drops them;
    no request waits for it."""
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
    instrumentors = [instrumentor() for instrumentor in clients]
    for instrumentor in instrumentors:
        instrumentor.instrument(tracer_provider=provider)
    FastAPIInstrumentor.instrument_app(
        app, tracer_provider=provider, excluded_urls=_UNTRACED, exclude_spans=["receive", "send"]
    )

    def stop() -> None:
        for instrumentor in instrumentors:
            instrumentor.uninstrument()
        provider.shutdown()

    return stop


def _sampler(sample_rate: float) -> Sampler:
    """Return a sampler that follows the caller's decision, or else samples requests at random.

    Work outside of requests, such as writing the answer log, is not traced."""
    from opentelemetry.sdk.trace.sampling import (
        Decision,
        ParentBased,
        Sampler,
        SamplingResult,
        StaticSampler,
        TraceIdRatioBased,
    )
    from opentelemetry.trace import SpanKind

    class RequestSampler(Sampler):
        def __init__(self) -> None:
            self._requests, self._others = TraceIdRatioBased(sample_rate), StaticSampler(Decision.DROP)

        def should_sample(
            self, parent_context: Any, trace_id: int, name: str, kind: Any = None, *more: Any, **named: Any
        ) -> SamplingResult:
            sampler = self._requests if kind == SpanKind.SERVER else self._others
            return sampler.should_sample(parent_context, trace_id, name, kind, *more, **named)

        def get_description(self) -> str:
            return f"RequestSampler{{{sample_rate}}}"

    return ParentBased(RequestSampler())
