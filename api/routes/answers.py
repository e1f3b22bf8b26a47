"""Search and answers."""

from __future__ import annotations

import json
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from dataclasses import asdict, replace
from itertools import count
from typing import Any, TypeVar

import anyio
import structlog
from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel
from sse_starlette import EventSourceResponse, ServerSentEvent

from api.dependencies import Asking, Searching, visible_knowledge_base
from api.errors import error_response
from api.openapi import failures
from api.schemas.common import (
    AnswerRequest,
    AnswerResponse,
    SearchRequest,
    SearchResponse,
    answer_out,
    citation_out,
    degraded,
    search_out,
)
from api.streaming import Stream, Streams, first_event, only_event, reading
from api.telemetry.metrics import AnswerTimings, Metrics
from mindset import tracing
from mindset.answering.answer import collect
from mindset.answering.query import Query
from mindset.application import Installation
from mindset.auth.caller import Caller
from mindset.catalog.answer_log import LoggedAnswer, new_answer_id
from mindset.errors import (
    IndexDamaged,
    NothingReleased,
    Overloaded,
    ProviderRejected,
    ProviderUnavailable,
    QuestionRejected,
    RequestRejected,
    ShuttingDown,
    UnknownKnowledgeBase,
)
from mindset.generation.answer_stream import Answer, Delta, Event
from mindset.generation.citations import Citation
from mindset.guardrails.verdict import Verdict
from mindset.providers.deadline import Deadline
from mindset.retrieval.search_request import SearchResult
from mindset.text.normalization import normalize

router = APIRouter(
    prefix="/v1",
    tags=["answers"],
    responses=failures(
        UnknownKnowledgeBase, NothingReleased, QuestionRejected, RequestRejected, IndexDamaged, ProviderRejected,
        ProviderUnavailable, Overloaded, ShuttingDown, body=True,
    ),
)  # fmt: skip

_log = structlog.get_logger()

T = TypeVar("T")

HEARTBEAT_S = 15
"""A stream that is silent this long gets a comment, so that proxies keep it open."""

# The part of the grace period reserved for telling clients that their streams cannot be finished.
_GOODBYE_S = 2.0


@router.post("/search", summary="Search passages", response_model=SearchResponse)
def search(body: SearchRequest, request: Request, caller: Searching) -> Response:
    """Find the passages of the live release that answer a question."""
    query = _query(request, body, caller)
    _add_log_context(request, query)
    result = request.app.state.installation.answering.search(query)
    _add_log_context(request, query, result)
    metrics: Metrics = request.app.state.metrics
    metrics.searched(result)
    # Serialized here: FastAPI would validate the models again and serialize them in the event loop's thread.
    return Response(search_out(result).model_dump_json(), media_type="application/json")


@router.post(
    "/answers",
    summary="Answer a question",
    response_model=AnswerResponse,
    responses={
        200: {
            "content": {
                "text/event-stream": {
                    "example": 'event: answer.created\ndata: {"id": "..."}\n\nevent: answer.delta\ndata: {"text": "..."}'
                }
            },
            "description": "The answer, or, with `stream`, events: answer.created, retrieval.completed, answer.delta, "
            "citation, guardrail, answer.completed, error",
        }
    },
)
async def answer(body: AnswerRequest, request: Request, caller: Asking) -> Response | AnswerResponse:
    """Answer a question from the live release, with citations; as events if `stream` is true or the client accepts them.

    `answer.completed` contains the whole answer and overrides the deltas before it."""
    query = await to_thread.run_sync(_query_in_conversation, request, body, caller)
    if body.stream or "text/event-stream" in request.headers.get("accept", ""):
        return await streamed(request, start_answer(request, query), _events)
    collected = await only_event(start_whole_answer(request, query), request)
    if collected is None:
        return Response(status_code=CLIENT_CLOSED_REQUEST)  # for the log, since the client is gone
    return _answer_response(request, *collected)


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
        _add_log_context(request, query)
        for event in installation.answering.answer(query, deadline):
            match event:
                case SearchResult():
                    result, search_s = event, time.perf_counter() - started
                    _add_log_context(request, query, event)
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


def _query_in_conversation(request: Request, body: AnswerRequest, caller: Caller) -> Query:
    """Return the query with the earlier questions of its conversation. Raises RequestRejected."""
    query = _query(request, body, caller)
    request.state.conversation, request.state.conversation_unavailable = body.conversation, False
    if body.conversation is None:
        return query
    installation: Installation = request.app.state.installation
    query.caller.check_sees(query.kb)
    previous = installation.conversations.previous_questions(body.conversation, query.kb.name, caller)
    request.state.conversation_unavailable = previous is None
    return replace(query, previous_questions=previous or ())


def _answer_response(request: Request, result: SearchResult, answer: Answer) -> AnswerResponse:
    response = answer_out(request.state.answer_id, result, answer, request.state.conversation)
    if request.state.conversation_unavailable:
        response.degraded.append("conversation")
    return response


def _query(request: Request, body: SearchRequest, caller: Caller) -> Query:
    installation: Installation = request.app.state.installation
    return Query(
        visible_knowledge_base(installation, body.knowledge_base, caller), body.question, caller, body.limit, body.where
    )


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


async def _events(
    request: Request, result: SearchResult, stream: Stream[SearchResult | Event], stopping: anyio.Event, grace_s: float
) -> AsyncIterator[ServerSentEvent]:
    number = count(1)

    def event(name: str, data: dict[str, Any] | BaseModel) -> ServerSentEvent:
        id_ = f"{request.state.answer_id}.{next(number)}"
        # Pydantic serializes several times as fast, and all passages are sent twice, in the event loop's thread.
        text = data.model_dump_json() if isinstance(data, BaseModel) else json.dumps(data, ensure_ascii=False)
        return ServerSentEvent(text, event=name, id=id_)

    async with reading(stream):
        yield event("answer.created", {"id": request.state.answer_id, "knowledge_base": result.kb})
        yield event("retrieval.completed", search_out(result))
        try:
            async for item in events_until_shutdown(stream, stopping, grace_s):
                match item:
                    case Delta():
                        yield event("answer.delta", {"text": item.text})
                    case Citation():
                        yield event("citation", citation_out(item, result.passages))
                    case Verdict():
                        yield event("guardrail", asdict(item))
                    case Answer():
                        yield event("answer.completed", _answer_response(request, result, item))
        except Exception as error:  # noqa: BLE001  # the status was sent, so the error is sent as an event
            status, kind, detail = error_response(error)
            problem = {"type": f"urn:mindset:{kind}", "title": status.phrase, "status": status, "detail": detail}
            yield event("error", {**problem, "request_id": request.state.request_id})


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


def _add_log_context(request: Request, query: Query, result: SearchResult | None = None) -> None:
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
