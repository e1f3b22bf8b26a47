"""NIM's wire format: embeddings, ranking, chat, models, health."""

from __future__ import annotations

import json
from typing import Any

from tests.providers.reply import Reply, chat_deltas, is_judged, relevance, tokens, vector

EMBEDDING_MODELS = {"nvidia/llama-nemotron-embed-1b-v2": 2048, "nvidia/nv-embedqa-e5-v5": 1024}
RERANKERS = ("nvidia/llama-nemotron-rerank-1b-v2",)
CHAT_MODELS = ("nvidia/llama-3.1-nemotron-nano-8b-v1", "meta/llama-3.1-8b-instruct")

Body = dict[str, Any]  # parsed JSON of a request, which may have any shape


def reply(method: str, path: str, body: Body, script: str | None = None, rankings: object = None) -> Reply:
    """Return the response to a request below /v1."""
    match method, path:
        case "POST", "/v1/embeddings":
            return _embeddings(body)
        case "POST", "/v1/ranking":
            return _ranking(body) if rankings is None else _json({"rankings": rankings})
        case "POST", "/v1/chat/completions":
            return _chat(body, script)
        case "GET", "/v1/models":
            names = (*EMBEDDING_MODELS, *RERANKERS, *CHAT_MODELS)
            return _json({"object": "list", "data": [{"id": name, "object": "model"} for name in names]})
        case "GET", "/v1/health/live" | "/v1/health/ready":
            return _json({"object": "health-response", "message": "ready"})
        case _:
            return error(404, f"no route {method} {path}")


def error(status: int, message: str) -> Reply:
    """Return an error response. The hosted NIM uses another body for 429 than for other errors."""
    if status == 429:
        return _json({"status": 429, "title": "Too Many Requests"}, status)
    return _json({"error": {"message": message, "type": "error", "param": None, "code": status}}, status)


def _embeddings(body: Body) -> Reply:
    model, texts = body["model"], body["input"]
    if model not in EMBEDDING_MODELS:
        return error(404, f"The model `{model}` does not exist.")
    if not 1 <= len(texts) <= 50 or body.get("input_type") not in {"query", "passage"}:
        return error(422, "input: 1 to 50 texts; input_type: query or passage")
    if body.get("truncate") == "NONE" and any(tokens(text) > 8192 for text in texts):
        return error(400, "Input length exceeds maximum allowed token size 8192")
    dimension = body.get("dimensions") or EMBEDDING_MODELS[model]
    data = [
        {"object": "embedding", "index": index, "embedding": vector(text, dimension)}
        for index, text in enumerate(texts)
    ]
    used = sum(map(tokens, texts))
    # Reversed, since the protocol allows any order.
    return _json(
        {
            "object": "list",
            "data": data[::-1],
            "model": model,
            "usage": {"prompt_tokens": used, "total_tokens": used},
        }
    )


def _ranking(body: Body) -> Reply:
    if body["model"] not in RERANKERS:
        return error(404, f"The model `{body['model']}` does not exist.")
    if not 1 <= len(body["passages"]) <= 512:
        return error(422, "passages: 1 to 512")
    logits = [relevance(body["query"]["text"], passage["text"]) for passage in body["passages"]]
    best = sorted(range(len(logits)), key=lambda index: -logits[index])
    return _json({"rankings": [{"index": index, "logit": logits[index]} for index in best]})


def _chat(body: Body, script: str | None) -> Reply:
    model = body["model"]
    if model not in CHAT_MODELS:
        return error(404, f"The model `{model}` does not exist.")
    system = next((message["content"] for message in body["messages"] if message["role"] == "system"), "")
    deltas = chat_deltas(body["messages"][-1]["content"])
    if script is not None and not is_judged(body["messages"][-1]["content"]):
        deltas = [script[at : at + 7] for at in range(0, len(script), 7)]
    if "nemotron" in model and "detailed thinking off" not in system:
        deltas = ["<thi", "nk>Let me see [7].</th", "ink>\n\n", *deltas]
    prompt = tokens("".join(message["content"] for message in body["messages"]))
    usage = {"prompt_tokens": prompt, "completion_tokens": len(deltas), "total_tokens": prompt + len(deltas)}
    if not body.get("stream"):
        message = {"role": "assistant", "content": "".join(deltas)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return _json({"object": "chat.completion", "model": model, "choices": [choice], "usage": usage})
    events = [_event(model, {"role": "assistant", "content": None})]
    events += [_event(model, {"content": delta}) for delta in deltas]
    events.append(_event(model, {}, "stop"))
    if (body.get("stream_options") or {}).get("include_usage"):
        events.append({"object": "chat.completion.chunk", "model": model, "choices": [], "usage": usage})
    # Some servers send U+2028 unescaped: clients must not treat it as the end of a line.
    pieces = [f"data: {json.dumps(event, ensure_ascii=False)}\n\n".encode() for event in events]
    failure = {"error": {"message": "the engine died", "type": "internal_error", "param": None, "code": 500}}
    return Reply(
        (b": keep-alive\n\n", *pieces, b"data: [DONE]\n\n"),
        content_type="text/event-stream",
        streamed=True,
        error_piece=f"data: {json.dumps(failure)}\n\n".encode(),
    )


def _event(model: str, delta: Body, finish: str | None = None) -> Body:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"object": "chat.completion.chunk", "model": model, "choices": [choice]}


def _json(body: Body, status: int = 200) -> Reply:
    return Reply((json.dumps(body).encode(),), status=status)
