"""The OpenAPI document beyond the routes: tags, error responses, and examples."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI

from api.errors import Problem, of_error
from api.schemas import openai as openai_schemas
from mindset.errors import (
    ConfigurationError,
    MindsetError,
    NotAllowed,
    NotAuthenticated,
    ServiceUnavailable,
    TooManyRequests,
)

TAGS = [
    {"name": "answers", "description": "Ask, search, and rate answers."},
    {"name": "documents", "description": "Documents and passages of the live release that you may read."},
    {
        "name": "knowledge bases",
        "description": "Knowledge bases, their versions and releases.",
    },
    {"name": "nights", "description": "Runs of the nightly flow, which build and release versions."},
    {"name": "openai", "description": "An OpenAI-compatible API. A model is a knowledge base."},
    {"name": "health", "description": "For probes and Prometheus; no credentials needed."},
]
"""The tags in the order of the document."""

# Errors of every route that requires a caller.
_COMMON_ERRORS = (NotAuthenticated, NotAllowed, TooManyRequests, ConfigurationError, ServiceUnavailable)
_INVALID_REQUEST = (
    HTTPStatus.UNPROCESSABLE_ENTITY,
    "InvalidRequest",
    "A field of the request is invalid; `errors` names it.",
)
_INVALID_BODY = (
    (HTTPStatus.BAD_REQUEST, "BadRequest", "The body is not UTF-8 text."),
    (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "BodyTooLarge", "The body has more than 256,000 bytes."),
)


def failures(*errors: type[MindsetError], body: bool = False, openai: bool = False) -> dict[int | str, dict[str, Any]]:
    """Return the error responses of a route that raises these errors in addition to the common ones.

    `body`: the route takes a body; `openai`: it reports errors in OpenAI's format."""
    responses: dict[HTTPStatus, dict[str, str]] = {}
    for status, kind, detail in [
        *(of_error(error(error.__doc__ or "")) for error in (*_COMMON_ERRORS, *errors)),
        _INVALID_REQUEST,
        *(_INVALID_BODY if body else ()),
    ]:
        responses.setdefault(openai_schemas.status_of(status) if openai else status, {})[kind] = detail
    content = _openai_content if openai else _problem_content
    return {
        status.value: {"description": ", ".join(kinds), "content": content(status, kinds)}
        for status, kinds in sorted(responses.items())
    }


def _problem_content(status: HTTPStatus, kinds: dict[str, str]) -> dict[str, Any]:
    examples = {
        kind: {
            "value": Problem(
                type=f"urn:mindset:{kind}", title=status.phrase, status=status, detail=detail, request_id=_REQUEST_ID
            ).model_dump(exclude_none=True)
        }
        for kind, detail in kinds.items()
    }
    return {"application/problem+json": {"schema": {"$ref": _REF.format(model="Problem")}, "examples": examples}}


def _openai_content(status: HTTPStatus, kinds: dict[str, str]) -> dict[str, Any]:
    examples = {kind: {"value": openai_schemas.error_body(status, kind, detail)} for kind, detail in kinds.items()}
    return {"application/json": {"schema": openai_schemas.ERROR, "examples": examples}}


def install(app: FastAPI) -> None:
    """Complete the document: add error schemas and examples, and remove FastAPI's own error schemas."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            schemas = document["components"]["schemas"]
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
            problem = Problem.model_json_schema(ref_template=_REF)
            schemas |= problem.pop("$defs") | {"Problem": problem}
            for operation in [operation for methods in document["paths"].values() for operation in methods.values()]:
                _correct_failures(operation["responses"])
                _add_examples(operation, schemas)
        assert app.openapi_schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI documents it


def _correct_failures(responses: dict[str, Any]) -> None:
    """Undo what FastAPI does: it adds a 422 to routes that declare none, and drops nulls from examples."""
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]
    for failure in (response for status, response in responses.items() if status[0] in "45"):
        for error_example in failure["content"].get("application/json", {}).get("examples", {}).values():
            error_example["value"]["error"].setdefault("param", None)


def _add_examples(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Add examples of the request and of its successful responses, composed of examples of their fields."""
    successes = [response for status, response in operation["responses"].items() if status[0] == "2"]
    for message in [operation.get("requestBody", {}), *successes]:
        media = message.get("content", {}).get("application/json")
        if media and media.get("schema") and media.keys().isdisjoint({"example", "examples"}):
            media["example"] = example(media["schema"], schemas)


def example(schema: dict[str, Any], schemas: dict[str, Any], name: str = "") -> Any:
    """Return an example of a schema: its own, that of the field's name, or one composed of its parts.

    Optional fields are left out unless they have examples of their own."""
    match schema:
        case {"examples": [value, *_]} | {"const": value}:
            pass
        case _ if name in _EXAMPLES:
            value = _EXAMPLES[name]
        case {"enum": [value, *_]} | {"default": value}:
            pass
        case {"$ref": str(reference)}:
            value = example(schemas[reference.rpartition("/")[2]], schemas, name)
        case {"anyOf": [first, *_]} | {"oneOf": [first, *_]}:
            value = example(first, schemas, name)
        case {"type": "array", "items": items}:
            value = [example(items, schemas, name)]
        case _:
            required = schema.get("required", ())
            value = {
                field: example(property_, schemas, field)
                for field, property_ in schema.get("properties", {}).items()
                if field in required or "examples" in property_
            }
    return value


# A field name means the same in every schema, so each has one example.
_EXAMPLES: dict[str, Any] = {
    "answer": "Run `mindset rollback docs`. [1]",
    "baseline_version": 6,
    "cached": False,
    "channel": "live",
    "chunk_id": "9f86d081884c7d659a2feaa0c55ad015",
    "chunk_ids": ["9f86d081884c7d659a2feaa0c55ad015"],
    "chunks_added": 41,
    "chunks_removed": 12,
    "completion_tokens": 12,
    "content": "Run `mindset rollback docs`. [1]",
    "content_hash": "2c26b46b68ffc68ff99b453c1d304134",
    "conversation": "5b0c8f6e2d9a4c71b3e8f0a1d2c3b4a5",
    "created": 1_795_564_800,
    "created_at": "2026-11-25T02:00:12Z",
    "degraded": [],
    "description": "How Product Mindset is run and used.",
    "documents": 212,
    "documents_added": ["operating/redis.md"],
    "documents_changed": ["operating/rollback.md"],
    "documents_removed": [],
    "end": 812,
    "end_index": 27,
    "ended_at": None,
    "finish_reason": "stop",
    "generator": "nim:nvidia/llama-3.3-nemotron-super-49b-v1.5",
    "heading_path": ["Rolling back", "From the command line"],
    "knowledge_base": "docs",
    "live_version": 7,
    "metadata": {"team": "search"},
    "metrics": {"all": {"recall@5": 0.97, "mrr": 0.91, "ndcg@10": 0.92}},
    "milliseconds": {"dense": 4.1, "lexical": 3.2, "visible": 1.4, "total": 6.8},
    "model": "docs",
    "name": "docs",
    "next": "Im9wZXJhdGluZy9yb2xsYmFjay5tZCI",
    "number": 7,
    "parameter": "limit",
    "passage": 1,
    "passed": True,
    "percent": 62.5,
    "pointer": "/question",
    "prompt_tokens": 905,
    "questions": 40,
    "rank": 1,
    "ready_at": "2026-11-25T02:01:40Z",
    "reason": "evaluation passed",
    "reasons": [],
    "release": 12,
    "released_at": "2026-11-25T02:02:05Z",
    "released_by": "key:5b0c8f6e",
    "replaced_at": None,
    "replaces": 6,
    "report": None,
    "retracted": False,
    "role": "user",
    "start": 640,
    "start_index": 0,
    "started_at": "2026-11-25T02:00:03Z",
    "state": "ready",
    "supported": True,
    "text": "Run `mindset rollback docs` to make the previous version live again.",
    "title": "Rolling back",
    "total_tokens": 917,
    "uri": "operating/rollback.md",
    "url": "operating/rollback.md",
    "version": 7,
}

_REF = "#/components/schemas/{model}"
_REQUEST_ID = "f8652fd5a1b04c3e9d7f6b2c8e0a4d13"
