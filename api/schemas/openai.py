"""OpenAI's shapes: what `/v1/chat/completions` and `/v1/models` take, give and say when something is wrong."""

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
"""What stands under these speaks OpenAI's dialect, its errors too."""

# What a request may name with a value that asks for nothing, and why any other value is refused: an answer that
# silently is something else than what was asked for is worse than none. null asks for nothing everywhere.
_REFUSED: dict[str, tuple[tuple[JsonValue, ...], str]] = {
    "n": ((1,), "a question has one answer"),
    "tools": (([],), "answers come from the documents, and no tool is called"),
    "tool_choice": (("none", "auto"), "answers come from the documents, and no tool is called"),
    "parallel_tool_calls": ((True, False), "answers come from the documents, and no tool is called"),
    "functions": (([],), "answers come from the documents, and no function is called"),
    "function_call": (("none", "auto"), "answers come from the documents, and no function is called"),
    "response_format": (({"type": "text"},), "an answer is text with citations"),
    "modalities": ((["text"],), "an answer is text"),
    "audio": ((), "an answer is text"),
    "logprobs": ((False,), "probabilities are not told"),
    "top_logprobs": ((0,), "probabilities are not told"),
    "logit_bias": (({},), "the definition of the knowledge base decides how answers are written"),
    "stop": (([], ""), "a cut answer could lose its citations"),
    "prediction": ((), "the definition of the knowledge base decides how answers are written"),
    "web_search_options": ((), "answers come from the documents, and no web is searched"),
}

Ignored = Annotated[JsonValue, Field(description="Accepted and ignored: the definition of the knowledge base decides")]


def _text(content: Any) -> Any:
    """The text of a message whose content is a list of parts, as OpenAI's may be."""
    if content is None:
        return ""
    if not isinstance(content, list):
        return content
    for number, part in enumerate(content):
        if not (isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)):
            kind = part.get("type") if isinstance(part, dict) else type(part).__name__
            raise ValueError(f"part {number} is {str(kind)[:40]!r}, and only parts of type 'text' can be asked")
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
    """One message of a conversation; what else it carries, such as the annotations of an answer sent back, is ignored."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[
        str,
        BeforeValidator(_text),
        WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "null"}, _PARTS], "examples": ["How do I roll back?"]}),
    ] = ""


class StreamOptions(BaseModel):
    """How a stream is sent."""

    include_usage: bool | None = Field(default=None, description="Whether the last chunk tells the usage")
    include_obfuscation: Ignored = None


class ChatRequest(BaseModel):
    """A conversation; its last message is the question."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(description="Name of the knowledge base", examples=["docs"])
    messages: list[Message] = Field(
        min_length=1,
        description="The last is the user's question; earlier ones of user and assistant are the conversation. System "
        "and developer messages are ignored.",
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
    def _without_what_asks_for_nothing(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {
            name: value
            for name, value in given.items()
            if name not in _REFUSED or (value is not None and value not in _REFUSED[name][0])
        }

    @property
    def includes_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


def conversation(messages: Sequence[Message]) -> tuple[str, tuple[str, ...]]:
    """The question, and those that were answered before it. Raises QuestionRejected where the last message is not the user's."""
    said = [each for each in messages if each.role in ("user", "assistant")]
    if not said or said[-1] is not messages[-1] or said[-1].role != "user":
        raise QuestionRejected("The last message is not the user's. End `messages` with the question, of role `user`.")
    before: list[str] = []
    asked: list[str] = []
    for message in said[:-1]:
        if message.role == "user":
            asked.append(message.content)
        elif asked:  # a greeting answers nothing
            before.append("\n".join(asked))
            asked = []
    # What nobody has answered yet is asked together with the last.
    return "\n".join([*asked, said[-1].content]), tuple(before)


class UrlCitation(BaseModel):
    """Characters of the content that stand on a document; its URI is the URL."""

    start_index: int
    end_index: int
    title: str
    url: str


class Annotation(BaseModel):
    """A citation, as OpenAI annotates messages."""

    type: Literal["url_citation"] = "url_citation"
    url_citation: UrlCitation


class Extension(BaseModel):
    """What OpenAI's shape has no place for."""

    id: str = Field(
        description="Names the answer in the answer log and in feedback", examples=["0193f4a2b6d05c1e8a7f3b2d4c6e8f90"]
    )
    version: int = Field(description="The version that was live when the question was asked")
    release: int | None = Field(description="The release that put it there")
    supported: bool = Field(description="False: the documents do not say, and nothing is cited")
    degraded: list[str] = Field(description="Steps that had to be left out")
    retracted: bool = Field(description="What was streamed does not count; `answer` does")
    answer: str | None = Field(description="Where retracted: the text that counts")
    generator: str
    citations: list[CitationOut]
    passages: list[PassageOut]


class ChatUsage(BaseModel):
    """What the answer cost, as the provider counted it; zeros where no model wrote it."""

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
    """The only one."""

    index: int = 0
    message: AssistantMessage
    logprobs: None = None
    finish_reason: Literal["stop", "length", "content_filter"]


class ChatCompletion(BaseModel):
    """An answer as OpenAI's chat completion."""

    id: str = Field(examples=["chatcmpl-0193f4a2b6d05c1e8a7f3b2d4c6e8f90"])
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: ChatUsage
    mindset: Extension


class Model(BaseModel):
    """A knowledge base that can be asked, as OpenAI's model."""

    id: str = Field(examples=["docs"])
    object: Literal["model"] = "model"
    created: int = Field(description="When its live version was released, in seconds since 1970")
    owned_by: str = "mindset"


class Models(BaseModel):
    """All that the caller may ask."""

    object: Literal["list"] = "list"
    data: list[Model]


def model_out(kb: KnowledgeBase, live: Release) -> Model:
    """A knowledge base as a model."""
    return Model(id=kb.name, created=int(live.released_at.timestamp()))


def completion_out(number: str, found: SearchResult, answer: Answer) -> ChatCompletion:
    """A whole answer as a chat completion."""
    extension = extension_out(number, found, answer)
    message = AssistantMessage(content=answer.text, annotations=annotations_of(extension))
    choice = Choice(message=message, finish_reason=finish_reason(answer))
    usage = usage_out(answer.usage)
    return ChatCompletion(
        id=f"chatcmpl-{number}",
        created=int(time.time()),
        model=found.kb,
        choices=[choice],
        usage=usage,
        mindset=extension,
    )


def extension_out(number: str, found: SearchResult, answer: Answer, *, retracted: bool = False) -> Extension:
    """What the extension field says of an answer."""
    whole = answer_out(number, found, answer)
    return Extension(
        id=number,
        version=found.version,
        release=found.release,
        supported=whole.supported,
        degraded=whole.degraded,
        retracted=retracted,
        answer=answer.text if retracted else None,
        generator=whole.generator,
        citations=whole.citations,
        passages=whole.passages,
    )


def annotations_of(extension: Extension) -> list[Annotation]:
    """The citations, as annotations of the message."""
    return [
        Annotation(url_citation=UrlCitation(start_index=c.start, end_index=c.end, title=c.title, url=c.uri))
        for c in extension.citations
    ]


def finish_reason(answer: Answer) -> Literal["stop", "length", "content_filter"]:
    """Why an answer ended, in OpenAI's words; those that it lacks are `stop`."""
    match answer.finish_reason:
        case "length":
            return "length"
        case "content_filter" | "guardrail":
            return "content_filter"
        case _:
            return "stop"


def usage_out(usage: Usage) -> ChatUsage:
    """Usage in OpenAI's words."""
    return ChatUsage(
        prompt_tokens=usage.input_tokens,
        completion_tokens=usage.output_tokens,
        total_tokens=usage.input_tokens + usage.output_tokens,
    )


# Of our errors, those for which OpenAI has words of its own: code and parameter.
_CODES: dict[str, tuple[str, str | None]] = {
    "NotAuthenticated": ("invalid_api_key", None),
    "NotAllowed": ("insufficient_permissions", None),
    "UnknownKnowledgeBase": ("model_not_found", "model"),
    "NothingReleased": ("model_not_found", "model"),
    "QuestionRejected": ("invalid_value", "messages"),
    "TooManyRequests": ("rate_limit_exceeded", None),
}


def status_of(status: HTTPStatus) -> HTTPStatus:
    """OpenAI's status where it differs from ours."""
    return HTTPStatus.BAD_REQUEST if status == HTTPStatus.UNPROCESSABLE_ENTITY else status


def error_body(
    status: HTTPStatus, kind: str, detail: str, code: str | None = None, param: str | None = None
) -> dict[str, Any]:
    """An error as OpenAI describes it; `kind` is the name of ours."""
    known_code, known_param = _CODES.get(kind, (re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind).lower(), None))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        type_ = "server_error"
    else:
        type_ = "rate_limit_error" if status == HTTPStatus.TOO_MANY_REQUESTS else "invalid_request_error"
    return {
        "error": {"message": detail, "type": type_, "param": param or known_param, "code": code or known_code},
    }


def fault_of(error: RequestValidationError) -> tuple[str, str | None, str]:
    """Message, parameter and code of the first fault of a request."""
    fault = error.errors()[0]
    place = fault["loc"][1:]
    if fault["type"] == "json_invalid" or not place:
        return "The body is not a JSON object. Send one, with `model` and `messages`.", None, "invalid_json"
    param = re.sub(r"\.(\d+)", r"[\1]", ".".join(map(str, place)))
    match fault["type"]:
        case "missing":
            return f"`{param}` is missing. Send it.", param, "missing_required_parameter"
        case "extra_forbidden" if param in _REFUSED:
            return f"`{param}` is not supported: {_REFUSED[param][1]}. Leave it out.", param, "unsupported_parameter"
        case "extra_forbidden":
            return f"`{param}` is not a known parameter. Leave it out.", param, "unknown_parameter"
        case _:
            told = str(fault["msg"]).removeprefix("Value error, ").replace("Input should", "it should")
            return f"`{param}` is wrong: {told}.", param, "invalid_value"


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
"""An error as OpenAI describes it, for the API's description."""
