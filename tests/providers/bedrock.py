"""Bedrock's wire format: Converse and its event stream, embedding and reranking models, guardrails."""

from __future__ import annotations

import json
import re
from binascii import crc32
from struct import pack
from typing import Any
from urllib.parse import unquote

from tests.providers.reply import Reply, chat_deltas, relevance, tokens, vector

_ROUTE = re.compile(r"/model/([^/]+)/(converse|converse-stream|invoke)")
_GUARDRAIL = re.compile(r"/guardrail/[^/]+/version/[^/]+/apply")
_COHERE_DIMENSION = 1024
_CODES = {
    400: "ValidationException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
}

Body = dict[str, Any]  # parsed JSON of a request, which may have any shape


def reply(path: str, body: Body, stop_reason: str = "end_turn", error_name: str = "") -> Reply:
    """Return the response to a POST below /model; the model's id is URL-encoded in the path."""
    if _GUARDRAIL.fullmatch(path):
        return _apply_guardrail(body)
    route = _ROUTE.fullmatch(path)
    if route is None:
        return error(404, f"no route {path}")
    model, action = unquote(route[1]), route[2]
    if action == "invoke":
        return _rerank(model, body) if "rerank" in model else _embed(model, body)
    if "embed" in model or "retired" in model:
        return error(404, "This model version has reached the end of its life.")
    return _chat(action, body, stop_reason, error_name)


def _chat(action: str, body: Body, stop_reason: str, error_name: str) -> Reply:
    system = "".join(block["text"] for block in body.get("system", []))
    content = body["messages"][-1]["content"]
    user = "".join(block["text"] for block in content if "text" in block)
    if results := [block["searchResult"] for block in content if "searchResult" in block]:
        return _cited(results, stop_reason)
    deltas = chat_deltas(user)
    usage = {"inputTokens": tokens(system + user), "outputTokens": len(deltas)}
    usage["totalTokens"] = sum(usage.values())
    if action == "converse":
        message = {"role": "assistant", "content": [{"text": "".join(deltas)}]}
        return _json(
            {"output": {"message": message}, "stopReason": stop_reason, "usage": usage, "metrics": {"latencyMs": 1}}
        )
    frames = [
        _event("messageStart", {"role": "assistant"}),
        *(_event("contentBlockDelta", {"delta": {"text": delta}, "contentBlockIndex": 0}) for delta in deltas),
        _event("contentBlockStop", {"contentBlockIndex": 0}),
        _event("messageStop", {"stopReason": stop_reason}),
        _event("metadata", {"usage": usage, "metrics": {"latencyMs": 1}}),
    ]
    name = error_name or "modelStreamErrorException"
    return Reply(
        tuple(frames),
        content_type="application/vnd.amazon.eventstream",
        streamed=True,
        error_piece=_frame({":message-type": "exception", ":exception-type": name}, {"message": "the model broke"}),
    )


def _cited(results: list[Body], stop_reason: str) -> Reply:
    """Return the first sentence of the first search result, followed by its citation."""
    for result in results:
        if not (
            result["source"] and result["title"] and result["content"][0]["text"] and result["citations"]["enabled"]
        ):
            return error(400, "searchResult: source, title, content and citations are required")
    *deltas, _, _ = chat_deltas(f"[1]\n{results[0]['content'][0]['text']}")
    location = {"searchResultLocation": {"searchResultIndex": 0, "start": 0, "end": 1}}
    source = {"title": results[0]["title"], "source": results[0]["source"]}
    citation = {**source, "sourceContent": [{"text": "".join(deltas)}], "location": location}
    # The same citation twice in a row: readers must show it once.
    content = [*({"text": delta} for delta in deltas), {"text": "\n"}, {"citation": citation}, {"citation": citation}]
    frames = [
        _event("messageStart", {"role": "assistant"}),
        *(_event("contentBlockDelta", {"delta": delta, "contentBlockIndex": 0}) for delta in content),
        _event("contentBlockStop", {"contentBlockIndex": 0}),
        _event("messageStop", {"stopReason": stop_reason}),
        _event(
            "metadata", {"usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}, "metrics": {"latencyMs": 1}}
        ),
    ]
    return Reply(tuple(frames), content_type="application/vnd.amazon.eventstream", streamed=True)


def _apply_guardrail(body: Body) -> Reply:
    """Intervene in texts that contain the word `forbidden`."""
    text = "".join(block["text"]["text"] for block in body["content"])
    if "forbidden" not in text:
        return _json({"action": "NONE", "outputs": [], "assessments": [{}], "usage": {}})
    return _json(
        {
            "action": "GUARDRAIL_INTERVENED",
            "outputs": [{"text": "Let us talk of something else."}],
            "assessments": [{"wordPolicy": {"customWords": [{"match": "forbidden", "action": "BLOCKED"}]}}],
            "usage": {},
        }
    )


def error(status: int, message: str) -> Reply:
    """Return an error response; its name is in a header."""
    response = _json({"message": message}, status)
    response.headers["x-amzn-errortype"] = _CODES.get(status, "UnknownException")
    return response


def _embed(model: str, body: Body) -> Reply:
    if "titan-embed" in model:
        text = body["inputText"]
        return _json({"embedding": vector(text, body.get("dimensions", 1024)), "inputTextTokenCount": tokens(text)})
    if "cohere.embed" not in model:
        return error(404, "no such embedding model")
    texts = body["texts"]
    if not 1 <= len(texts) <= 96 or body.get("input_type") not in {"search_document", "search_query"}:
        return error(400, "texts: 1 to 96; input_type: search_document or search_query")
    return _json({"embeddings": [vector(text, _COHERE_DIMENSION) for text in texts], "texts": texts, "id": "1"})


def _rerank(model: str, body: Body) -> Reply:
    if ("cohere." in model) != (body.get("api_version") == 2):
        return error(400, "api_version: 2 is required for Cohere's models and unknown to others")
    scores = [relevance(body["query"], document) for document in body["documents"]]
    best = sorted(range(len(scores)), key=lambda index: -scores[index])[: body["top_n"]]
    return _json({"results": [{"index": index, "relevance_score": scores[index]} for index in best]})


def _event(name: str, payload: Body) -> bytes:
    return _frame({":event-type": name, ":message-type": "event"}, payload)


def _frame(headers: dict[str, str], payload: Body) -> bytes:
    """Encode one message of `application/vnd.amazon.eventstream`."""
    body = json.dumps(payload).encode()
    head = b""
    for name, value in {**headers, ":content-type": "application/json"}.items():
        head += pack(">B", len(name)) + name.encode() + b"\x07" + pack(">H", len(value)) + value.encode()
    prelude = pack(">II", 16 + len(head) + len(body), len(head))
    message = prelude + pack(">I", crc32(prelude)) + head + body
    return message + pack(">I", crc32(message))


def _json(body: Body, status: int = 200) -> Reply:
    return Reply((json.dumps(body).encode(),), status=status)
