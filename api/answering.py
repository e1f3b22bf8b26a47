"""Start answers, stream them and record them: shared by `/v1/answers`, chat completions and MCP."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from typing import TypeVar

import anyio
import structlog
from fastapi import Request
from fastapi.responses import Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from api.schemas.common import degraded
from api.streaming import Stream, Streams, first_event
from api.telemetry.metrics import AnswerTimings, Metrics
from mindset import tracing
from mindset.answering.answer import collect
from mindset.answering.query import Query
from mindset.application import Installation
from mindset.catalog.answer_log import LoggedAnswer, new_answer_id
from mindset.errors import ShuttingDown
from mindset.generation.answer_stream import Answer, Delta, Event
from mindset.guardrails.verdict import Verdict
from mindset.providers.deadline import Deadline
from mindset.retrieval.search_request import SearchResult
from mindset.text.normalization import normalize

T = TypeVar("T")

HEARTBEAT_S = 15
"""A stream that is silent this long gets a comment, so that proxies keep it open."""

# The part of the grace period reserved for telling clients that their streams cannot be finished.
_GOODBYE_S = 2.0


CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a client that disconnected before the response."""


def start_answer(request: Request, query: Query) -> Stream[SearchResult | Event]:
    """Start an answer in its own thread. Its id is in `request.state.answer_id`. Raises Overloaded."""
    return _start(request, query, lambda events: events)


def start_whole_answer(request: Request, query: Query) -> Stream[tuple[SearchResult, Answer]]:
    """Start an answer whose stream has one event: the search result and the complete answer. Raises Overloaded."""
    return _start(request, query, lambda events: iter([collect(events)]))


def _start(
    request: Request, query: Query, transform: Callable[[Iterator[SearchResult | Event]], Iterator[T]]
) -> Stream[T]:
    streams: Streams = request.app.state.streams
    installation: Installation = request.app.state.installation
    request.state.answer_id = new_answer_id()
    metrics: Metrics = request.app.state.metrics
    deadline = Deadline(query.kb.generation.deadline_s)
    started = time.perf_counter()

    def events() -> Iterator[SearchResult | Event]:
        result: SearchResult | None = None
        search_s, first_text_s, stored = 0.0, None, None
        add_log_context(request, query)
        for event in installation.answering.answer(query, deadline):
            match event:
                case SearchResult():
                    result, search_s = event, time.perf_counter() - started
                    add_log_context(request, query, event)
                case Delta() if first_text_s is None:
                    first_text_s = time.perf_counter() - started
                    stored = _store_question(request, query)
                case Verdict():
                    metrics.judged(event)
                case Answer():
                    assert result
                    if stored := stored or _store_question(request, query):
                        request.state.conversation = stored.result()
                    timings = AnswerTimings(search_s, first_text_s, time.perf_counter() - started)
                    _record(request, query, result, event, timings)
            yield event

    return streams.start(lambda: transform(events()), deadline)


EventWriter = Callable[
    [Request, SearchResult, Stream[SearchResult | Event], anyio.Event, float], AsyncIterator[ServerSentEvent]
]
"""Writes an answer as server-sent events of some dialect. Called with the request, the search result, the stream of the
remaining events, and, for `events_until_shutdown`, the event that signals shutdown and the grace period in seconds."""


async def streamed(request: Request, stream: Stream[SearchResult | Event], write_events: EventWriter) -> Response:
    """Respond with events once the search result is available, so that an invalid question gets an error status."""
    try:
        result = await first_event(stream, request)
    except BaseException:
        stream.cancel()
        raise
    if result is None:
        stream.cancel()
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    assert isinstance(result, SearchResult)
    stopping = anyio.Event()
    grace = request.app.state.installation.settings.shutdown_grace_s
    return EventSourceResponse(
        write_events(request, result, stream, stopping, grace),
        ping=HEARTBEAT_S,
        ping_message_factory=lambda: ServerSentEvent(comment="still here"),
        shutdown_event=stopping,
        shutdown_grace_period=grace,
    )


async def events_until_shutdown(
    stream: Stream[SearchResult | Event], stopping: anyio.Event, grace_s: float
) -> AsyncIterator[SearchResult | Event]:
    """Yield the stream's events. Raises ShuttingDown shortly before the grace period of a terminating process ends."""
    stop_at = math.inf
    while time.monotonic() < stop_at:
        try:
            event = await stream.next(timeout_s=1.0)
        except TimeoutError:
            event = None
        else:
            if event is None:
                return
            yield event
        if stopping.is_set() and stop_at == math.inf:
            stop_at = time.monotonic() + max(grace_s - _GOODBYE_S, 0)
    raise ShuttingDown("This server is shutting down before the answer is complete. Ask again: another server answers.")


def _store_question(request: Request, query: Query) -> Future[str | None] | None:
    """Append the question to its conversation or to a new one. OpenAI clients send the conversation themselves."""
    if not hasattr(request.state, "conversation"):
        return None
    installation: Installation = request.app.state.installation
    return installation.conversations.append(request.state.conversation, query.kb.name, query.caller, query.question)


def add_log_context(request: Request, query: Query, result: SearchResult | None = None) -> None:
    """Add knowledge base, version and question to this thread's log lines and to the request's log line."""
    context: dict[str, object] = {"knowledge_base": query.kb.name}
    if result:
        context |= {"version": result.version, "release": result.release}
    structlog.contextvars.bind_contextvars(caller=query.caller.name, **context)
    installation: Installation = request.app.state.installation
    if installation.settings.log_questions:
        context["question"] = normalize(query.question)
        tracing.set_attributes(question=normalize(query.question))
    if hasattr(request.state, "answer_id"):
        context["answer"] = request.state.answer_id
    request.state.log_context = context


def _record(request: Request, query: Query, result: SearchResult, answer: Answer, timings: AnswerTimings) -> None:
    """Count an answer in the metrics and log it."""
    installation: Installation = request.app.state.installation
    metrics: Metrics = request.app.state.metrics
    metrics.searched(result)
    metrics.answered(result.kb, answer, timings)
    if log := request.app.state.answer_log:
        log.add(
            LoggedAnswer(
                id=request.state.answer_id,
                kb=result.kb,
                version=result.version,
                release_id=result.release,
                request_id=request.state.request_id,
                caller=query.caller.name,
                generator=answer.generator,
                prompt_fingerprint=answer.prompt,
                chunk_ids=[chunk_id for passage in result.passages for chunk_id in passage.chunk_ids],
                supported=answer.supported,
                degraded=degraded(result, answer),
                finish_reason=answer.finish_reason,
                input_tokens=answer.usage.input_tokens,
                output_tokens=answer.usage.output_tokens,
                cached=answer.cached,
                duration_ms=round(timings.total_s * 1000),
                trace_id=tracing.trace_id(),
                question=normalize(query.question) if installation.settings.log_questions else None,
            )
        )
