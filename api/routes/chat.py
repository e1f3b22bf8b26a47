"""OpenAI-compatible chat completions and models. A model is a knowledge base."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import anyio
import structlog
from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import Response
from sse_starlette import ServerSentEvent

from api.answering import (
    CLIENT_CLOSED_REQUEST,
    events_until_shutdown,
    start_answer,
    start_whole_answer,
    streamed,
)
from api.dependencies import Asking, visible_knowledge_base
from api.errors import error_response
from api.openapi import failures
from api.schemas import openai
from api.schemas.openai import ChatCompletion, ChatRequest, Model, Models
from api.streaming import Stream, only_event, reading
from mindset.answering.query import Query
from mindset.application import Installation
from mindset.auth.caller import Caller
from mindset.catalog.pool import REQUEST_TIMEOUT_S
from mindset.catalog.releases import Release, current_release
from mindset.config.knowledge_base import KnowledgeBase
from mindset.errors import (
    IndexDamaged,
    NothingReleased,
    Overloaded,
    ProviderRejected,
    ProviderUnavailable,
    QuestionRejected,
    ShuttingDown,
    UnknownKnowledgeBase,
)
from mindset.generation.answer_stream import Answer, Delta, Event
from mindset.guardrails.verdict import Verdict
from mindset.retrieval.search_request import SearchResult

router = APIRouter(
    prefix="/v1",
    tags=["openai"],
    responses=failures(
        UnknownKnowledgeBase, NothingReleased, QuestionRejected, IndexDamaged, ProviderRejected, ProviderUnavailable,
        Overloaded, ShuttingDown, body=True, openai=True,
    ),
)  # fmt: skip

_log = structlog.get_logger()

_CHUNK = {"choices": [{"index": 0, "delta": {"content": "..."}, "finish_reason": None}]}


@router.post(
    "/chat/completions",
    summary="Complete a chat",
    response_model=ChatCompletion,
    responses={
        200: {
            "content": {"text/event-stream": {"example": f"data: {json.dumps(_CHUNK)}\n\ndata: [DONE]"}},
            "description": "The answer, or, with `stream`, its chunks",
        }
    },
)
async def complete(body: ChatRequest, request: Request, caller: Asking) -> Response | ChatCompletion:
    """Answer the last message of a conversation from the live release of the knowledge base that `model` names.

    Citations are annotations of the message. The field `mindset` contains the release, the passages and more."""
    query = await to_thread.run_sync(_query, request, body, caller)
    if body.stream:
        return await streamed(request, start_answer(request, query), partial(_chunks, usage=body.includes_usage))
    collected = await only_event(start_whole_answer(request, query), request)
    if collected is None:
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    return openai.completion_out(request.state.answer_id, *collected)


@router.get("/models", summary="List models")
def models(request: Request, caller: Asking) -> Models:
    """List the knowledge bases that you may ask and that have a live release."""
    installation: Installation = request.app.state.installation
    visible = [kb for kb in installation.knowledge_bases() if caller.sees(kb)]
    releases = [(kb, _live_release(installation, kb)) for kb in visible]
    return Models(data=[openai.model_out(kb, live) for kb, live in releases if live])


@router.get("/models/{model}", summary="Get a model")
def model(model: str, request: Request, caller: Asking) -> Model:
    """Get a knowledge base that you may ask, as a model."""
    installation: Installation = request.app.state.installation
    kb = visible_knowledge_base(installation, model, caller)
    live = _live_release(installation, kb)
    if live is None:
        raise NothingReleased(f"No version of {kb.name} is live yet. Run `mindset night {kb.name}` first.")
    return openai.model_out(kb, live)


def _live_release(installation: Installation, kb: KnowledgeBase) -> Release | None:
    with installation.catalog.reading(REQUEST_TIMEOUT_S) as connection:
        return current_release(connection, kb.name)


def _query(request: Request, body: ChatRequest, caller: Caller) -> Query:
    kb = visible_knowledge_base(request.app.state.installation, body.model, caller)
    question, previous = openai.conversation(body.messages)
    return Query(kb, question, caller, previous_questions=previous)


async def _chunks(
    request: Request,
    result: SearchResult,
    stream: Stream[SearchResult | Event],
    stopping: anyio.Event,
    grace_s: float,
    *,
    usage: bool,
) -> AsyncIterator[ServerSentEvent]:
    head = {
        "id": f"chatcmpl-{request.state.answer_id}",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": result.kb,
    }
    streamed_text = ""
    retracted = False

    def chunk(delta: dict[str, Any], finish_reason: str | None = None, **more: Any) -> ServerSentEvent:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return _event(head | {"choices": [choice]} | ({"usage": None} if usage else {}) | more)

    async with reading(stream):
        yield chunk({"role": "assistant", "content": ""})
        try:
            async for event in events_until_shutdown(stream, stopping, grace_s):
                match event:
                    case Delta():
                        streamed_text += event.text
                        yield chunk({"content": event.text})
                    case Verdict():
                        retracted |= event.retract
                    case Answer():
                        if not streamed_text:
                            streamed_text = event.text
                            yield chunk({"content": streamed_text})
                        # Streamed text that turned out to be unsupported is retracted by the last chunk.
                        retracted |= streamed_text.strip() != event.text
                        extension = openai.extension_out(request.state.answer_id, result, event, retracted=retracted)
                        annotations = [annotation.model_dump() for annotation in openai.annotations_of(extension)]
                        reason = "content_filter" if retracted else openai.finish_reason(event)
                        yield chunk(
                            {"annotations": annotations} if annotations and not retracted else {},
                            reason,
                            mindset=extension.model_dump(),
                        )
                        if usage:
                            token_usage = openai.usage_out(event.usage).model_dump()
                            yield _event(head | {"choices": [], "usage": token_usage})
                        yield ServerSentEvent("[DONE]")
        except Exception as error:  # noqa: BLE001  # the status was sent, so the error is sent as an event
            status, kind, detail = error_response(error)
            yield _event(openai.error_body(status, kind, detail))


def _event(data: dict[str, Any]) -> ServerSentEvent:
    return ServerSentEvent(json.dumps(data, ensure_ascii=False))
