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
from api.streaming import Stream, Streams, first_of, reading, result_of
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
"""Seconds of silence after which a stream gets a comment, so that proxies keep it open."""

# Of the grace period: what a stream that cannot be finished needs to say so, and its client to hear it.
_FAREWELL_S = 2.0


@router.post("/search", summary="Search passages", response_model=SearchResponse)
def search(body: SearchRequest, request: Request, caller: Searching) -> Response:
    """Find the passages of the live release that answer a question."""
    asked = _asked(request, body, caller)
    _note(request, asked)
    found = request.app.state.installation.answering.search(asked)
    _note(request, asked, found)
    metrics: Metrics = request.app.state.metrics
    metrics.searched(found)
    # Written here: FastAPI would check the models again, and write them on the thread that all requests share.
    return Response(search_out(found).model_dump_json(), media_type="application/json")


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
    """Answer a question from the live release, with citations; as events when `stream` is true or the client asks for them.

    `answer.completed` holds the whole answer and is what counts."""
    asked = await to_thread.run_sync(_in_conversation, request, body, caller)
    if body.stream or "text/event-stream" in request.headers.get("accept", ""):
        return await streamed(request, begin(request, asked), _events)
    made = await result_of(begin_whole(request, asked), request)
    if made is None:
        return Response(status_code=CLIENT_CLOSED_REQUEST)  # which nobody reads, but the log does
    found, done = made
    return _told(request, found, done)


CLIENT_CLOSED_REQUEST = 499
"""nginx's status for a client that went away before its answer."""


def begin(request: Request, asked: Query) -> Stream[SearchResult | Event]:
    """Start to answer in a thread of its own. The answer's id is in `request.state.answer_id`. Raises Overloaded."""
    return _begin(request, asked, lambda events: events)


def begin_whole(request: Request, asked: Query) -> Stream[tuple[SearchResult, Answer]]:
    """As `begin`, for who wants the answer once it is whole: the stream's only event."""
    return _begin(request, asked, lambda events: iter([collect(events)]))


def _begin(
    request: Request, asked: Query, gathered: Callable[[Iterator[SearchResult | Event]], Iterator[T]]
) -> Stream[T]:
    streams: Streams = request.app.state.streams
    installation: Installation = request.app.state.installation
    request.state.answer_id = new_answer_id()
    metrics: Metrics = request.app.state.metrics
    deadline = Deadline(asked.kb.generation.deadline_s)
    started = time.perf_counter()

    def events() -> Iterator[SearchResult | Event]:
        found: SearchResult | None = None
        found_s, spoken_s, remembered = 0.0, None, None
        _note(request, asked)
        for event in installation.answering.answer(asked, deadline):
            match event:
                case SearchResult():
                    found, found_s = event, time.perf_counter() - started
                    _note(request, asked, event)
                case Delta() if spoken_s is None:
                    spoken_s = time.perf_counter() - started
                    remembered = _remember(request, asked)
                case Verdict():
                    metrics.judged(event)
                case Answer():
                    assert found
                    if remembered := remembered or _remember(request, asked):
                        request.state.conversation = remembered.result()
                    _finish(
                        request, asked, found, event, AnswerTimings(found_s, spoken_s, time.perf_counter() - started)
                    )
            yield event

    return streams.begin(lambda: gathered(events()), deadline)


def _in_conversation(request: Request, body: AnswerRequest, caller: Caller) -> Query:
    """What is asked, with what was asked before in its conversation. Raises RequestRejected."""
    asked = _asked(request, body, caller)
    request.state.conversation, request.state.forgotten = body.conversation, False
    if body.conversation is None:
        return asked
    installation: Installation = request.app.state.installation
    asked.caller.check_sees(asked.kb)
    before = installation.conversations.previous_questions(body.conversation, asked.kb.name, caller)
    request.state.forgotten = before is None
    return replace(asked, previous_questions=before or ())


def _told(request: Request, found: SearchResult, done: Answer) -> AnswerResponse:
    whole = answer_out(request.state.answer_id, found, done, request.state.conversation)
    return (
        whole.model_copy(update={"degraded": [*whole.degraded, "conversation"]}) if request.state.forgotten else whole
    )


def _asked(request: Request, body: SearchRequest, caller: Caller) -> Query:
    installation: Installation = request.app.state.installation
    return Query(
        visible_knowledge_base(installation, body.knowledge_base, caller), body.question, caller, body.limit, body.where
    )


Telling = Callable[
    [Request, SearchResult, Stream[SearchResult | Event], anyio.Event, float], AsyncIterator[ServerSentEvent]
]
"""How an answer is told in some dialect of events: of a request, from what was found, the stream of the rest, and,
for `until_told_to_stop`, the sign that the process ends and its grace period."""


async def streamed(request: Request, stream: Stream[SearchResult | Event], telling: Telling) -> Response:
    """The answer as events, once its passages are found: what is wrong with the question has a status of its own."""
    try:
        found = await first_of(stream, request)
    except BaseException:
        stream.leave()
        raise
    if found is None:
        stream.leave()
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    assert isinstance(found, SearchResult)
    stopping = anyio.Event()
    grace = request.app.state.installation.settings.shutdown_grace_s
    return EventSourceResponse(
        telling(request, found, stream, stopping, grace),
        ping=HEARTBEAT_S,
        ping_message_factory=lambda: ServerSentEvent(comment="still here"),
        shutdown_event=stopping,
        shutdown_grace_period=grace,
    )


async def _events(
    request: Request, found: SearchResult, stream: Stream[SearchResult | Event], stopping: anyio.Event, grace_s: float
) -> AsyncIterator[ServerSentEvent]:
    number = count(1)

    def event(name: str, data: dict[str, Any] | BaseModel) -> ServerSentEvent:
        id_ = f"{request.state.answer_id}.{next(number)}"
        # Models write themselves, several times as fast: all passages are told twice, on the thread that all requests share.
        text = data.model_dump_json() if isinstance(data, BaseModel) else json.dumps(data, ensure_ascii=False)
        return ServerSentEvent(text, event=name, id=id_)

    async with reading(stream):
        yield event("answer.created", {"id": request.state.answer_id, "knowledge_base": found.kb})
        yield event("retrieval.completed", search_out(found))
        try:
            async for happened in until_told_to_stop(stream, stopping, grace_s):
                match happened:
                    case Delta():
                        yield event("answer.delta", {"text": happened.text})
                    case Citation():
                        yield event("citation", citation_out(happened, found.passages))
                    case Verdict():
                        yield event("guardrail", asdict(happened))
                    case Answer():
                        yield event("answer.completed", _told(request, found, happened))
        except Exception as failed:  # noqa: BLE001  # the stream has begun: this is how its reader is told
            status, kind, detail = error_response(failed)
            problem = {"type": f"urn:mindset:{kind}", "title": status.phrase, "status": status, "detail": detail}
            yield event("error", {**problem, "request_id": request.state.request_id})


async def until_told_to_stop(
    stream: Stream[SearchResult | Event], stopping: anyio.Event, grace_s: float
) -> AsyncIterator[SearchResult | Event]:
    """The stream's events. Raises ShuttingDown shortly before the grace period of a process that ends is over."""
    leave_at = math.inf
    while time.monotonic() < leave_at:
        try:
            happened = await stream.next(timeout_s=1.0)
        except TimeoutError:
            happened = None
        else:
            if happened is None:
                return
            yield happened
        if stopping.is_set() and leave_at == math.inf:
            leave_at = time.monotonic() + max(grace_s - _FAREWELL_S, 0)
    raise ShuttingDown("This server is going down, and the answer is not whole. Ask again: another server answers.")


def _remember(request: Request, asked: Query) -> Future[str | None] | None:
    """Add the question, which is being answered, to its conversation, or begin one; OpenAI's clients send theirs along."""
    if not hasattr(request.state, "conversation"):
        return None
    installation: Installation = request.app.state.installation
    return installation.conversations.append(request.state.conversation, asked.kb.name, asked.caller, asked.question)


def _note(request: Request, asked: Query, found: SearchResult | None = None) -> None:
    """Let the lines that this thread logs, and the line of the request, say what it is about."""
    noted: dict[str, object] = {"knowledge_base": asked.kb.name}
    if found:
        noted |= {"version": found.version, "release": found.release}
    structlog.contextvars.bind_contextvars(caller=asked.caller.name, **noted)
    installation: Installation = request.app.state.installation
    if installation.settings.log_questions:
        noted["question"] = normalize(asked.question)
        tracing.set_attributes(question=normalize(asked.question))
    if hasattr(request.state, "answer_id"):
        noted["answer"] = request.state.answer_id
    request.state.noted = noted


def _finish(request: Request, asked: Query, found: SearchResult, done: Answer, pace: AnswerTimings) -> None:
    """Count and log an answer."""
    installation: Installation = request.app.state.installation
    metrics: Metrics = request.app.state.metrics
    metrics.searched(found)
    metrics.answered(found.kb, done, pace)
    if log := request.app.state.answer_log:
        log.add(
            LoggedAnswer(
                id=request.state.answer_id,
                kb=found.kb,
                version=found.version,
                release_id=found.release,
                request_id=request.state.request_id,
                caller=asked.caller.name,
                generator=done.generator,
                prompt_fingerprint=done.prompt,
                chunk_ids=[chunk_id for passage in found.passages for chunk_id in passage.chunk_ids],
                supported=done.supported,
                degraded=degraded(found, done),
                finish_reason=done.finish_reason,
                input_tokens=done.usage.input_tokens,
                output_tokens=done.usage.output_tokens,
                cached=done.cached,
                duration_ms=round(pace.total_s * 1000),
                trace_id=tracing.trace_id(),
                question=normalize(asked.question) if installation.settings.log_questions else None,
            )
        )
