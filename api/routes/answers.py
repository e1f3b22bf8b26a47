"""Search and answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from itertools import count
from typing import Any

import anyio
from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel
from sse_starlette import ServerSentEvent

from api.answering import (
    CLIENT_CLOSED_REQUEST,
    add_log_context,
    events_until_shutdown,
    start_answer,
    start_whole_answer,
    streamed,
)
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
    search_out,
)
from api.streaming import Stream, only_event, reading
from api.telemetry.metrics import Metrics
from mindset.answering.query import Query
from mindset.application import Installation
from mindset.auth.caller import Caller
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
from mindset.retrieval.search_request import SearchResult

router = APIRouter(
    prefix="/v1",
    tags=["answers"],
    responses=failures(
        UnknownKnowledgeBase, NothingReleased, QuestionRejected, RequestRejected, IndexDamaged, ProviderRejected,
        ProviderUnavailable, Overloaded, ShuttingDown, body=True,
    ),
)  # fmt: skip


@router.post("/search", summary="Search passages", response_model=SearchResponse)
def search(body: SearchRequest, request: Request, caller: Searching) -> Response:
    """Find the passages of the live release that answer a question."""
    query = _query(request, body, caller)
    add_log_context(request, query)
    result = request.app.state.installation.answering.search(query)
    add_log_context(request, query, result)
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
        return Response(status_code=CLIENT_CLOSED_REQUEST)  # for the log, since the client has disconnected
    return _answer_response(request, *collected)


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
