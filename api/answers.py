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
from mindset.catalog.answers import LoggedAnswer, log_answer
from mindset.errors import MindsetError, ServiceUnavailable
from mindset.generation.answers import Answer, Delta, last_of, stream_answer
from mindset.generation.citations import Citation
from mindset.guardrails.questions import checked_question
from mindset.installation import Installation
from mindset.retrieval.search import Found

router = APIRouter(prefix="/v1", tags=["answers"])

_log = structlog.get_logger()

# Who asks is not known yet: everybody sees what everybody may see.
EVERYBODY = ("*",)


@router.post("/search")
def search(body: SearchRequest, request: Request) -> SearchResponse:
    """Find the passages of the live release that answer a question."""
    return search_out(_search(request, body))


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
def answer(body: AnswerRequest, request: Request) -> Response | AnswerResponse:
    """Answer a question from the live release, with citations; as events when `stream` is true or the client asks for them.

    `answer.completed` holds the whole answer and is what counts."""
    streams = body.stream or "text/event-stream" in request.headers.get("accept", "")
    started = time.perf_counter()
    found = _search(request, body)
    pieces = _answer(request, body, found)
    if streams:
        events = _events(request, found, pieces, started)
        return EventSourceResponse(events, ping=15)
    done = last_of(pieces)
    return answer_out(_finish(request, found, done, started), found, done)


def _search(request: Request, body: SearchRequest) -> Found:
    installation: Installation = request.app.state.installation
    metrics: Metrics = request.app.state.metrics
    kb = installation.knowledge_base(body.knowledge_base)
    found = installation.searcher.search(kb, body.question, EVERYBODY, body.limit)
    metrics.searched(found)
    return found


def _answer(request: Request, body: AnswerRequest, found: Found) -> Iterator[Delta | Citation | Answer]:
    installation: Installation = request.app.state.installation
    generator = installation.generator(installation.knowledge_base(body.knowledge_base))
    return stream_answer(generator, checked_question(body.question), found.passages)


def _events(
    request: Request, found: Found, pieces: Iterator[Delta | Citation | Answer], started: float
) -> Iterator[ServerSentEvent]:
    yield _event("retrieval.completed", search_out(found).model_dump())
    try:
        for piece in pieces:
            match piece:
                case Delta():
                    yield _event("answer.delta", {"text": piece.text})
                case Citation():
                    yield _event("citation", citation_out(piece, found.passages).model_dump())
                case Answer():
                    number = _finish(request, found, piece, started)
                    yield _event("answer.completed", answer_out(number, found, piece).model_dump())
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
