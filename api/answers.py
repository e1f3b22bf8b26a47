"""Search and answers."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from api.access import Asking, Searching
from api.metrics import Metrics
from api.models import (
    AnswerRequest,
    AnswerResponse,
    SearchRequest,
    SearchResponse,
    answer_out,
    citation_out,
    search_out,
)
from api.problems import of_error
from mindset import answers
from mindset.access.caller import Caller
from mindset.answers import Asked
from mindset.catalog.answers import LoggedAnswer, log_answer
from mindset.errors import MindsetError, ServiceUnavailable
from mindset.generation.answers import Answer, Delta, Event
from mindset.generation.citations import Citation
from mindset.installation import Installation
from mindset.retrieval.search import Found

router = APIRouter(prefix="/v1", tags=["answers"])

_log = structlog.get_logger()


@router.post("/search")
def search(body: SearchRequest, request: Request, caller: Searching) -> SearchResponse:
    """Find the passages of the live release that answer a question."""
    found = answers.search(request.app.state.installation, _asked(request, body, caller))
    metrics: Metrics = request.app.state.metrics
    metrics.searched(found)
    return search_out(found)


@router.post(
    "/answers",
    response_model=AnswerResponse,
    responses={
        200: {
            "content": {
                "text/event-stream": {
                    "example": 'event: retrieval.completed\ndata: {"version": 3}\n\nevent: answer.delta\ndata: {"text": "..."}'
                }
            },
            "description": "The answer, or, with `stream`, events: retrieval.completed, answer.delta, citation, "
            "answer.completed, error",
        }
    },
)
def answer(body: AnswerRequest, request: Request, caller: Asking) -> Response | AnswerResponse:
    """Answer a question from the live release, with citations; as events when `stream` is true or the client asks for them.

    `answer.completed` holds the whole answer and is what counts."""
    streams = body.stream or "text/event-stream" in request.headers.get("accept", "")
    started = time.perf_counter()
    events = answers.answer(request.app.state.installation, _asked(request, body, caller))
    if streams:
        found = next(events)  # what is wrong with the question is still a status of its own
        assert isinstance(found, Found)
        return EventSourceResponse(_events(request, found, events, started), ping=15)
    found, done = answers.whole(events)
    return answer_out(_finish(request, found, done, started), found, done)


def _asked(request: Request, body: SearchRequest, caller: Caller) -> Asked:
    installation: Installation = request.app.state.installation
    return Asked(installation.knowledge_base(body.knowledge_base), body.question, caller, body.limit)


def _events(
    request: Request, found: Found, events: Iterator[Found | Event], started: float
) -> Iterator[ServerSentEvent]:
    yield _event("retrieval.completed", search_out(found).model_dump())
    try:
        for event in events:
            match event:
                case Delta():
                    yield _event("answer.delta", {"text": event.text})
                case Citation():
                    yield _event("citation", citation_out(event, found.passages).model_dump())
                case Answer():
                    number = _finish(request, found, event, started)
                    yield _event("answer.completed", answer_out(number, found, event).model_dump())
    except MindsetError as failed:
        status, kind, detail = of_error(failed)
        _log.error("answer failed", kind=kind, error=str(failed))
        problem = {"type": f"urn:mindset:{kind}", "title": status.phrase, "status": status, "detail": detail}
        yield _event("error", {**problem, "request_id": request.state.request_id})


def _event(name: str, data: dict[str, Any]) -> ServerSentEvent:
    return ServerSentEvent(json.dumps(data, ensure_ascii=False), event=name)


def _finish(request: Request, found: Found, done: Answer, started: float) -> str:
    """Count and log an answer; returns its id."""
    installation: Installation = request.app.state.installation
    metrics: Metrics = request.app.state.metrics
    metrics.searched(found)
    metrics.answered(found.kb, done.generator, done.supported)
    number = uuid.uuid4().hex
    if installation.settings.answer_log:
        logged = LoggedAnswer(
            id=number,
            kb=found.kb,
            version=found.version,
            request=request.state.request_id,
            generator=done.generator,
            passages=[chunk for passage in found.passages for chunk in passage.chunk_ids],
            supported=done.supported,
            degraded=list(found.degraded),
            milliseconds=round((time.perf_counter() - started) * 1000),
        )
        try:
            with installation.catalog.writing() as connection:
                log_answer(connection, logged)
        except ServiceUnavailable as unlogged:  # the answer itself is whole; the log line says what is missing
            _log.error("answer not logged", answer=number, error=str(unlogged))
    return number
