"""Chat completions and models as OpenAI serves them, so that its clients work unchanged; a model is a knowledge base."""

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

from api.dependencies import Asking, visible_knowledge_base
from api.errors import error_response
from api.openapi import failures
from api.routes.answers import CLIENT_CLOSED_REQUEST, begin, begin_whole, streamed, until_told_to_stop
from api.schemas import openai
from api.schemas.openai import ChatCompletion, ChatRequest, Model, Models
from api.streaming import Stream, reading, result_of
from mindset.answering.query import Query
from mindset.application import Installation
from mindset.auth.caller import Caller
from mindset.catalog.pool import REQUEST_TIMEOUT_S
from mindset.catalog.releases import Release, list_releases
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

    Citations are annotations of the message; the release, the passages and more are in the field `mindset`."""
    asked = await to_thread.run_sync(_asked, request, body, caller)
    if body.stream:
        return await streamed(request, begin(request, asked), partial(_chunks, usage=body.includes_usage))
    made = await result_of(begin_whole(request, asked), request)
    if made is None:
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    found, done = made
    return openai.completion_out(request.state.answer_id, found, done)


@router.get("/models", summary="List models")
def models(request: Request, caller: Asking) -> Models:
    """The knowledge bases that the caller may ask and of which a version is live."""
    installation: Installation = request.app.state.installation
    known = [kb for kb in installation.knowledge_bases() if caller.sees(kb)]
    found = [(kb, _live(installation, kb)) for kb in known]
    return Models(data=[openai.model_out(kb, live) for kb, live in found if live])


@router.get("/models/{model}", summary="Look at a model")
def model(model: str, request: Request, caller: Asking) -> Model:
    """One knowledge base that the caller may ask, as a model."""
    installation: Installation = request.app.state.installation
    kb = visible_knowledge_base(installation, model, caller)
    live = _live(installation, kb)
    if live is None:
        raise NothingReleased(f"No version of {kb.name} is live yet. Run `mindset night {kb.name}` first.")
    return openai.model_out(kb, live)


def _live(installation: Installation, kb: KnowledgeBase) -> Release | None:
    with installation.catalog.reading(REQUEST_TIMEOUT_S) as connection:
        return next(
            (each for each in list_releases(connection, kb.name) if each.channel == "live" and not each.replaced_at),
            None,
        )


def _asked(request: Request, body: ChatRequest, caller: Caller) -> Query:
    kb = visible_knowledge_base(request.app.state.installation, body.model, caller)
    question, before = openai.conversation(body.messages)
    return Query(kb, question, caller, previous_questions=before)


async def _chunks(
    request: Request,
    found: SearchResult,
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
        "model": found.kb,
    }
    said = ""
    retracted = False

    def chunk(delta: dict[str, Any], finish_reason: str | None = None, **more: Any) -> ServerSentEvent:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return _event(head | {"choices": [choice]} | ({"usage": None} if usage else {}) | more)

    async with reading(stream):
        yield chunk({"role": "assistant", "content": ""})
        try:
            async for happened in until_told_to_stop(stream, stopping, grace_s):
                match happened:
                    case Delta():
                        said += happened.text
                        yield chunk({"content": happened.text})
                    case Verdict():
                        retracted |= happened.retract
                    case Answer():
                        if not said:
                            said = happened.text
                            yield chunk({"content": said})
                        # Text that turned out to be unsupported was said all the same: the last chunk takes it back.
                        retracted |= said.strip() != happened.text
                        extension = openai.extension_out(request.state.answer_id, found, happened, retracted=retracted)
                        annotations = [each.model_dump() for each in openai.annotations_of(extension)]
                        reason = "content_filter" if retracted else openai.finish_reason(happened)
                        yield chunk(
                            {"annotations": annotations} if annotations and not retracted else {},
                            reason,
                            mindset=extension.model_dump(),
                        )
                        if usage:
                            spent = openai.usage_out(happened.usage).model_dump()
                            yield _event(head | {"choices": [], "usage": spent})
                        yield ServerSentEvent("[DONE]")
        except Exception as failed:  # noqa: BLE001  # the stream has begun: this is how its reader is told
            status, kind, detail = error_response(failed)
            yield _event(openai.error_body(status, kind, detail))


def _event(data: dict[str, Any]) -> ServerSentEvent:
    return ServerSentEvent(json.dumps(data, ensure_ascii=False))
