"""OpenAI-compatible schemas of `/v1/chat/completions` and `/v1/models`, including their errors.

The module is longer than 300 lines because it mirrors one external protocol."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, WithJsonSchema, model_validator

from api.schemas.common import CitationOut, PassageOut, answer_out
from mindset.catalog.releases import Release
from mindset.config.knowledge_base import KnowledgeBase
from mindset.errors import QuestionRejected
from mindset.generation.answer_stream import Answer
from mindset.generation.protocol import Usage
from mindset.retrieval.search_request import SearchResult

PATHS = ("/v1/chat/", "/v1/models")
"""Paths below these use OpenAI's format, also for errors."""

# Parameters that are accepted only with values that have no effect (null always has none), and why others are rejected:
# silently ignoring what a client asks for would be worse.
_UNSUPPORTED: dict[str, tuple[tuple[JsonValue, ...], str]] = {
    "n": ((1,), "a question has one answer"),
    "tool_choice": (("none", "auto"), "answers come from the documents, and no tool is called"),
    "function_call": (("none", "auto"), "answers come from the documents, and no function is called"),
    "response_format": (({"type": "text"},), "an answer is text with citations"),
    "modalities": ((["text"],), "an answer is text"),
    "audio": ((), "an answer is text"),
    "logprobs": ((False,), "probabilities are not available"),
    "top_logprobs": ((0,), "probabilities are not available"),
    "logit_bias": (({},), "the definition of the knowledge base decides how answers are written"),
    "stop": (([], ""), "a truncated answer could lose its citations"),
    "prediction": ((), "the definition of the knowledge base decides how answers are written"),
    "principals": ((), "the API key decides what the caller may read"),
    "where": ((), "only `/v1/answers` and `/v1/search` restrict a question to some documents"),
    "web_search_options": ((), "answers come from the documents, and the web is not searched"),
}

Ignored = Annotated[JsonValue, Field(description="Accepted and ignored: the definition of the knowledge base decides")]


def _text(content: Any) -> Any:
    """Return the text of a message, whose content may be a list of parts."""
    if content is None:
        return ""
    if not isinstance(content, list):
        return content
    for number, part in enumerate(content):
        if not (isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)):
            kind = part.get("type") if isinstance(part, dict) else type(part).__name__
            raise ValueError(f"part {number} is {str(kind)[:40]!r}, but only parts of type 'text' are supported")
    return "\n".join(part["text"] for part in content)


_PARTS = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
        "required": ["type", "text"],
    },
}


class Message(BaseModel):
    """A message of a conversation. Other fields, such as annotations of earlier answers, are ignored."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Annotated[
        str,
        BeforeValidator(_text),
        WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "null"}, _PARTS], "examples": ["How do I roll back?"]}),
    ] = ""

    @model_validator(mode="before")
    @classmethod
    def _drop_results_of_tools(cls, raw: Any) -> Any:
        """Drop what a tool returned, which may be of any type: those messages are passed over."""
        return raw | {"content": ""} if isinstance(raw, dict) and raw.get("role") in ("tool", "function") else raw


class StreamOptions(BaseModel):
    """Options of a stream."""

    include_usage: bool | None = Field(default=None, description="Whether the last chunk contains the usage")
    include_obfuscation: Ignored = None


class ChatRequest(BaseModel):
    """A conversation. Its last message is the question."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(description="Name of the knowledge base", examples=["docs"])
    messages: list[Message] = Field(
        min_length=1,
        description="The last message is the user's question; earlier user and assistant messages are the conversation. "
        "Messages of other roles are ignored.",
    )
    stream: bool | None = Field(default=None, description="Send chunks as server-sent events")
    stream_options: StreamOptions | None = None
    frequency_penalty: Ignored = None
    max_completion_tokens: Ignored = None
    max_tokens: Ignored = None
    metadata: Ignored = None
    presence_penalty: Ignored = None
    prompt_cache_key: Ignored = None
    reasoning_effort: Ignored = None
    safety_identifier: Ignored = None
    seed: Ignored = None
    service_tier: Ignored = None
    store: Ignored = None
    temperature: Ignored = None
    top_p: Ignored = None
    user: Ignored = None
    verbosity: Ignored = None

    @model_validator(mode="before")
    @classmethod
    def _drop_parameters_without_effect(cls, raw: Any) -> Any:
        """Drop what has no effect, unknown parameters included: clients send those of all servers they know, such as `top_k`.

        Tools are offered, not demanded, so they have none either; `tool_choice` may demand one."""
        if not isinstance(raw, dict):
            return raw
        return {
            name: value
            for name, value in raw.items()
            if name in cls.model_fields
            or (name in _UNSUPPORTED and value is not None and value not in _UNSUPPORTED[name][0])
        }

    @property
    def includes_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


def conversation(messages: Sequence[Message]) -> tuple[str, tuple[str, ...]]:
    """Return the question and the questions answered before it. Raises QuestionRejected unless the user's message is last."""
    dialogue = [message for message in messages if message.role in ("user", "assistant")]
    if not dialogue or dialogue[-1] is not messages[-1] or dialogue[-1].role != "user":
        raise QuestionRejected(
            "The last message is not from the user. End `messages` with the question, of role `user`."
        )
    answered: list[str] = []
    pending: list[str] = []
    for message in dialogue[:-1]:
        if message.role == "user":
            pending.append(message.content)
        elif pending:  # an assistant's greeting answers nothing
            answered.append("\n".join(pending))
            pending = []
    # Questions without an answer are asked together with the last one.
    return "\n".join([*pending, dialogue[-1].content]), tuple(answered)


class UrlCitation(BaseModel):
    """A part of the content, in characters, that is based on a document. The URL is the document's URI."""

    start_index: int
    end_index: int
    title: str
    url: str


class Annotation(BaseModel):
    """A citation in OpenAI's format of annotations."""

    type: Literal["url_citation"] = "url_citation"
    url_citation: UrlCitation


class Extension(BaseModel):
    """Data beyond OpenAI's format."""

    id: str = Field(
        description="Identifies the answer in the answer log and in feedback",
        examples=["0193f4a2b6d05c1e8a7f3b2d4c6e8f90"],
    )
    version: int = Field(description="The version that was live when the question was asked")
    release: int | None = Field(description="The release that made it live")
    supported: bool = Field(description="False if the documents do not contain an answer; then nothing is cited")
    degraded: list[str] = Field(description="Steps that were left out")
    retracted: bool = Field(description="Whether the streamed text is replaced by `answer`")
    answer: str | None = Field(description="The answer if the streamed text was retracted")
    generator: str
    citations: list[CitationOut]
    passages: list[PassageOut]


class ChatUsage(BaseModel):
    """Token counts reported by the provider; zero if no model wrote the answer."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class AssistantMessage(BaseModel):
    """The answer."""

    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None
    annotations: list[Annotation]


class Choice(BaseModel):
    """The only choice."""

    index: int = 0
    message: AssistantMessage
    logprobs: None = None
    finish_reason: Literal["stop", "length", "content_filter"]


class ChatCompletion(BaseModel):
    """An answer as a chat completion."""

    id: str = Field(examples=["chatcmpl-0193f4a2b6d05c1e8a7f3b2d4c6e8f90"])
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: ChatUsage
    mindset: Extension


class Model(BaseModel):
    """A knowledge base as a model."""

    id: str = Field(examples=["docs"])
    object: Literal["model"] = "model"
    created: int = Field(description="Release time of its live version, in seconds since 1970")
    owned_by: str = "mindset"


class Models(BaseModel):
    """The knowledge bases that the caller may ask."""

    object: Literal["list"] = "list"
    data: list[Model]


def model_out(kb: KnowledgeBase, live: Release) -> Model:
    """Convert a knowledge base to a model."""
    return Model(id=kb.name, created=int(live.released_at.timestamp()))


def completion_out(answer_id: str, result: SearchResult, answer: Answer) -> ChatCompletion:
    """Convert a complete answer to a chat completion."""
    extension = extension_out(answer_id, result, answer)
    message = AssistantMessage(content=answer.text, annotations=annotations_of(extension))
    choice = Choice(message=message, finish_reason=finish_reason(answer))
    usage = usage_out(answer.usage)
    return ChatCompletion(
        id=f"chatcmpl-{answer_id}",
        created=int(time.time()),
        model=result.kb,
        choices=[choice],
        usage=usage,
        mindset=extension,
    )


def extension_out(answer_id: str, result: SearchResult, answer: Answer, *, retracted: bool = False) -> Extension:
    """Return the extension field of an answer."""
    response = answer_out(answer_id, result, answer)
    return Extension(
        id=answer_id,
        version=result.version,
        release=result.release,
        supported=response.supported,
        degraded=response.degraded,
        retracted=retracted,
        answer=answer.text if retracted else None,
        generator=response.generator,
        citations=response.citations,
        passages=response.passages,
    )


def annotations_of(extension: Extension) -> list[Annotation]:
    """Return the citations as annotations of the message."""
    return [
        Annotation(url_citation=UrlCitation(start_index=c.start, end_index=c.end, title=c.title, url=c.uri))
        for c in extension.citations
    ]


def finish_reason(answer: Answer) -> Literal["stop", "length", "content_filter"]:
    """Return OpenAI's finish reason; reasons that it lacks become `stop`."""
    match answer.finish_reason:
        case "length":
            return "length"
        case "content_filter" | "guardrail":
            return "content_filter"
        case _:
            return "stop"


def usage_out(usage: Usage) -> ChatUsage:
    """Convert usage to OpenAI's format."""
    return ChatUsage(
        prompt_tokens=usage.input_tokens,
        completion_tokens=usage.output_tokens,
        total_tokens=usage.input_tokens + usage.output_tokens,
    )


# OpenAI's code and parameter for errors that it also has.
_CODES: dict[str, tuple[str, str | None]] = {
    "NotAuthenticated": ("invalid_api_key", None),
    "NotAllowed": ("insufficient_permissions", None),
    "UnknownKnowledgeBase": ("model_not_found", "model"),
    "NothingReleased": ("model_not_found", "model"),
    "QuestionRejected": ("invalid_value", "messages"),
    "TooManyRequests": ("rate_limit_exceeded", None),
}


def status_of(status: HTTPStatus) -> HTTPStatus:
    """Return OpenAI's status, which is 400 where ours is 422."""
    return HTTPStatus.BAD_REQUEST if status == HTTPStatus.UNPROCESSABLE_ENTITY else status


def error_body(
    status: HTTPStatus, kind: str, detail: str, code: str | None = None, param: str | None = None
) -> dict[str, Any]:
    """Return an error in OpenAI's format; `kind` is the name of our error."""
    default_code, default_param = _CODES.get(kind, (re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind).lower(), None))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        type_ = "server_error"
    else:
        type_ = "rate_limit_error" if status == HTTPStatus.TOO_MANY_REQUESTS else "invalid_request_error"
    return {
        "error": {"message": detail, "type": type_, "param": param or default_param, "code": code or default_code},
    }


def fault_of(error: RequestValidationError) -> tuple[str, str | None, str]:
    """Return message, parameter and code of the first invalid field of a request."""
    fault = error.errors()[0]
    location = fault["loc"][1:]
    if fault["type"] == "json_invalid" or not location:
        return "The body is not a JSON object. Send one, with `model` and `messages`.", None, "invalid_json"
    param = re.sub(r"\.(\d+)", r"[\1]", ".".join(map(str, location)))
    match fault["type"]:
        case "missing":
            return f"`{param}` is missing. Send it.", param, "missing_required_parameter"
        case "extra_forbidden":
            return (
                f"`{param}` is not supported: {_UNSUPPORTED[param][1]}. Leave it out.",
                param,
                "unsupported_parameter",
            )
        case _:
            message = str(fault["msg"]).removeprefix("Value error, ").replace("Input should", "it should")
            return f"`{param}` is invalid: {message}.", param, "invalid_value"


ERROR: dict[str, Any] = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
            "required": ["message", "type", "param", "code"],
        }
    },
    "required": ["error"],
}
"""The schema of an error in OpenAI's format."""
