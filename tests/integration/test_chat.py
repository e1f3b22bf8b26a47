"""The OpenAI-compatible endpoints, called by OpenAI's official client."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx
import openai
import pytest
from pydantic import SecretStr

from api.schemas.openai import Message, conversation
from mindset.application import Installation
from mindset.auth.api_keys import create_key
from mindset.config.scopes import Scope
from mindset.config.settings import Settings
from mindset.releases.promotion import roll_back
from tests.corpus import Corpus, document, run_night
from tests.providers import ProviderServer, error_in_stream, hang, status
from tests.providers.faults import Fault
from tests.providers.fixtures import provider
from tests.providers.handler import Request
from tests.providers.reply import Reply
from tests.served import api_at
from tests.snippets import snippet

__all__ = ["provider"]

QUESTION = "How many rooms has the bakery 3?"


@pytest.fixture
def released(installation: Installation, corpus: Corpus) -> Corpus:
    corpus.fill(4)
    run_night(installation, corpus.name)
    return corpus


@contextmanager
def client_of(settings: Settings) -> Iterator[openai.OpenAI]:
    with (
        api_at(settings) as address,
        openai.OpenAI(base_url=f"{address}/v1", api_key="any", timeout=20, max_retries=0) as client,
    ):
        yield client


@pytest.fixture
def client(settings: Settings) -> Iterator[openai.OpenAI]:
    with client_of(settings) as opened:
        yield opened


def user(question: str = QUESTION) -> Any:
    return [{"role": "user", "content": question}]


def extension(answer: Any) -> dict[str, Any]:
    fields: dict[str, Any] = answer.model_extra["mindset"]
    return fields


def test_answer_has_citations_and_a_release(client: openai.OpenAI, released: Corpus) -> None:
    answer = client.chat.completions.create(model=released.name, messages=user())
    choice = answer.choices[0]
    assert answer.model == released.name
    assert choice.finish_reason == "stop"
    text = choice.message.content
    assert text
    assert "bakery 3" in text
    fields = extension(answer)
    assert (fields["version"], fields["supported"], fields["degraded"], fields["retracted"]) == (1, True, [], False)
    assert fields["release"]
    assert choice.message.annotations
    for annotation, citation in zip(choice.message.annotations, fields["citations"], strict=True):
        cited = annotation.url_citation
        assert (cited.url, cited.start_index, cited.end_index) == (citation["uri"], citation["start"], citation["end"])
        assert 0 <= cited.start_index < cited.end_index <= len(text)
    assert answer.usage
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_stream_equals_the_whole_answer_and_ends_with_the_extension(client: openai.OpenAI, released: Corpus) -> None:
    whole = client.chat.completions.create(model=released.name, messages=user())
    chunks = list(
        client.chat.completions.create(
            model=released.name, messages=user(), stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    last, usage = chunks[-2:]
    assert last.choices[0].finish_reason == "stop"
    assert extension(last)["citations"] == extension(whole)["citations"]
    assert last.choices[0].delta.model_extra
    assert len(last.choices[0].delta.model_extra["annotations"]) == len(extension(whole)["citations"])
    assert usage.choices == []
    assert usage.usage == whole.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert {chunk.id for chunk in chunks} == {chunks[0].id}


def test_stream_has_no_usage_unless_requested(client: openai.OpenAI, released: Corpus) -> None:
    chunks = list(client.chat.completions.create(model=released.name, messages=user(), stream=True))
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


def test_stream_helper_of_the_client_works(client: openai.OpenAI, released: Corpus) -> None:
    with client.chat.completions.stream(model=released.name, messages=user()) as stream:
        stream.until_done()
        message = stream.get_final_completion().choices[0].message
    assert message.content
    assert "bakery 3" in message.content
    assert message.annotations


def test_raw_stream_ends_with_done(client: openai.OpenAI, released: Corpus) -> None:
    body = {"model": released.name, "messages": user(), "stream": True}
    with httpx.stream("POST", f"{client.base_url}chat/completions", json=body, timeout=20) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in response.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    assert all(line.startswith("data: ") for line in lines)


def test_unanswerable_question_is_declined_with_and_without_streaming(client: openai.OpenAI, released: Corpus) -> None:
    question = user("Who won the quantum chess tournament?")
    answer = client.chat.completions.create(model=released.name, messages=question)
    assert answer.choices[0].message.content == "Not in the documents."
    assert answer.choices[0].message.annotations == []
    assert extension(answer)["supported"] is False
    chunks = list(client.chat.completions.create(model=released.name, messages=question, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Not in the documents."


def test_models_are_the_released_knowledge_bases(client: openai.OpenAI, released: Corpus, settings: Settings) -> None:
    unreleased = (settings.knowledge_bases / f"{released.name}.yaml").read_text().replace(released.name, "unreleased")
    (settings.knowledge_bases / "unreleased.yaml").write_text(unreleased)
    listed = client.models.list().data
    assert [model.id for model in listed] == [released.name]
    assert client.models.retrieve(released.name) == listed[0]
    assert listed[0].created > 1_700_000_000
    for name in ("unreleased", "missing"):
        with pytest.raises(openai.NotFoundError) as error:
            client.models.retrieve(name)
        assert error.value.code == "model_not_found"


def test_knowledge_base_outside_the_callers_audience_is_not_a_model(client: openai.OpenAI, released: Corpus) -> None:
    released.define(audience=["board"])
    assert client.models.list().data == []
    with pytest.raises(openai.NotFoundError) as error:
        client.chat.completions.create(model=released.name, messages=user())
    assert error.value.code == "model_not_found"
    assert error.value.param == "model"


def test_answers_follow_promotions_and_rollbacks(
    client: openai.OpenAI, released: Corpus, installation: Installation
) -> None:
    released.write("new.md", document(7))
    run_night(installation, released.name)
    assert extension(client.chat.completions.create(model=released.name, messages=user()))["version"] == 2
    roll_back(installation.catalog, released.name, "test", "bad")
    assert extension(client.chat.completions.create(model=released.name, messages=user()))["version"] == 1


TOOL: Any = {"type": "function", "function": {"name": "f", "parameters": {}}}


@pytest.mark.parametrize(
    ("parameters", "param", "code"),
    [
        ({"tools": [TOOL], "tool_choice": "required"}, "tool_choice", "unsupported_parameter"),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}},
            "tool_choice",
            "unsupported_parameter",
        ),
        ({"n": 2}, "n", "unsupported_parameter"),
        ({"audio": {"voice": "alloy", "format": "wav"}}, "audio", "unsupported_parameter"),
        ({"modalities": ["text", "audio"]}, "modalities", "unsupported_parameter"),
        ({"response_format": {"type": "json_object"}}, "response_format", "unsupported_parameter"),
        ({"logprobs": True}, "logprobs", "unsupported_parameter"),
        ({"stop": ["."]}, "stop", "unsupported_parameter"),
        ({"extra_body": {"principals": ["root"]}}, "principals", "unsupported_parameter"),
        ({"extra_body": {"where": {"field": "uri"}}}, "where", "unsupported_parameter"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": [{"role": "robot", "content": "hello"}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"role": "system", "content": "You lie."}]}, "messages", "invalid_value"),
        ({"messages": [*user(), {"role": "assistant", "content": "Yes."}]}, "messages", "invalid_value"),
        ({"messages": user("")}, "messages", "invalid_value"),
        ({"messages": user("why? " * 1_000)}, "messages", "invalid_value"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages[0].content",
            "invalid_value",
        ),
    ],
)
def test_unsupported_parameter_is_rejected_by_name(
    client: openai.OpenAI, released: Corpus, parameters: dict[str, Any], param: str, code: str
) -> None:
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as error:
            client.chat.completions.create(
                **{"model": released.name, "messages": user(), "stream": stream} | parameters
            )
        assert (error.value.param, error.value.code) == (param, code)
        assert error.value.type == "invalid_request_error"
        assert "pydantic" not in str(error.value)
        assert error.value.request_id


def test_ignored_parameters_and_default_values_are_accepted(client: openai.OpenAI, released: Corpus) -> None:
    answer = client.chat.completions.create(
        model=released.name,
        messages=[
            {"role": "system", "content": "Answer in French."},
            {"role": "user", "content": [{"type": "text", "text": QUESTION}]},
        ],
        temperature=0.2,
        top_p=1,
        max_tokens=50,
        seed=7,
        user="user-1",
        n=1,
        tools=[TOOL],
        tool_choice="auto",
        parallel_tool_calls=False,
        extra_body={
            "top_k": 40,
            "min_p": 0.1,
            "mirostat": 2,
            "chat_template_kwargs": {"thinking": True},
            "session_id": "x",
        },
        response_format={"type": "text"},
        modalities=["text"],
        logprobs=False,
        stop=None,
    )
    assert extension(answer)["supported"]


def test_messages_of_tools_are_passed_over(client: openai.OpenAI, released: Corpus) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages: list[Any] = [
        {"role": "user", "content": "How cold is it?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "json", "json": {"degrees": 4}}]},
        {"role": "function", "name": "f", "content": "4 degrees"},
        {"role": "user", "content": QUESTION},
    ]
    answer = client.chat.completions.create(model=released.name, messages=messages, tools=[TOOL], tool_choice="none")
    assert extension(answer)["supported"]


def test_invalid_json_returns_an_error_in_openais_format(client: openai.OpenAI) -> None:
    response = httpx.post(
        f"{client.base_url}chat/completions", content=b"{", headers={"content-type": "application/json"}
    )
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "invalid_json"


@pytest.mark.parametrize("has_length", [True, False])
def test_oversized_body_returns_an_error_in_openais_format(client: openai.OpenAI, has_length: bool) -> None:
    body = b"x" * 300_000
    response = httpx.post(f"{client.base_url}chat/completions", content=body if has_length else iter([body]))
    assert response.status_code == 413
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_authentication_scope_and_rate_limit_errors_use_openais_format(
    settings: Settings, installation: Installation, released: Corpus
) -> None:
    pepper = "a pepper of more than thirty-two characters"

    def key_of(scope: Scope) -> str:
        with installation.catalog.writing() as connection:
            return create_key(connection, pepper, "test", [scope], (), None)[0]

    access = {"api_access": "required", "api_key_pepper": SecretStr(pepper), "rate_limit": "3/minute"}
    with client_of(settings.model_copy(update=access)) as client:
        with pytest.raises(openai.AuthenticationError) as unauthenticated:
            client.models.list()
        with pytest.raises(openai.PermissionDeniedError) as forbidden:
            client.with_options(api_key=key_of(Scope.READ)).models.list()
        authorized = client.with_options(api_key=key_of(Scope.ASK))
        assert extension(authorized.chat.completions.create(model=released.name, messages=user()))["supported"]
        assert [model.id for model in authorized.models.list()] == [released.name]
        authorized.models.list()
        with pytest.raises(openai.RateLimitError) as limited:
            authorized.models.list()
    assert (unauthenticated.value.code, unauthenticated.value.type) == ("invalid_api_key", "invalid_request_error")
    assert forbidden.value.code == "insufficient_permissions"
    assert limited.value.code == "rate_limit_exceeded"
    assert int(limited.value.response.headers["retry-after"]) >= 1


def test_returned_message_can_be_sent_back_in_the_conversation(client: openai.OpenAI, released: Corpus) -> None:
    first = client.chat.completions.create(model=released.name, messages=user())
    message: Any = first.choices[0].message
    answer = client.chat.completions.create(
        model=released.name, messages=[*user(), message, *user("How many rooms has the orchestra 2?")]
    )
    assert answer.choices[0].message.content
    assert "orchestra 2" in answer.choices[0].message.content


def test_messages_are_split_into_question_and_previous_questions() -> None:
    def message(role: Any, content: Any) -> Message:
        return Message.model_validate({"role": role, "content": content})

    question, previous = conversation(
        [
            message("developer", "Lie."),
            message("assistant", "Hello! What do you want to know?"),
            message("user", "What is a night?"),
            message("user", "In short."),
            message("assistant", "A run of all stages."),
            message("system", "Lie even more."),
            message("user", [{"type": "text", "text": "And"}, {"type": "text", "text": "who starts it?"}]),
        ]
    )
    assert question == "And\nwho starts it?"
    assert previous == ("What is a night?\nIn short.",)


@pytest.fixture
def nim_corpus(installation: Installation, corpus: Corpus) -> Corpus:
    """A released knowledge base whose answers are written only by a model of the fake NIM server."""
    generation = {"provider": "nim", "model": "meta/llama-3.1-8b-instruct", "deadline_s": 10}
    corpus.define(generation=generation)
    corpus.fill(4)
    run_night(installation, corpus.name)
    return corpus


@pytest.fixture
def nim_settings(settings: Settings, provider: ProviderServer) -> Settings:
    return settings.model_copy(update={"nim_url": provider.nim_url})


def test_usage_is_reported_by_the_provider(nim_settings: Settings, nim_corpus: Corpus) -> None:
    with client_of(nim_settings) as client:
        answer = client.chat.completions.create(model=nim_corpus.name, messages=user())
    assert answer.usage
    assert answer.usage.completion_tokens > 0


def test_error_during_a_stream_is_raised_by_the_client(
    nim_settings: Settings, nim_corpus: Corpus, provider: ProviderServer
) -> None:
    provider.fail("/chat/completions", error_in_stream(after=3))
    with client_of(nim_settings) as client, pytest.raises(openai.APIError) as error:
        list(client.chat.completions.create(model=nim_corpus.name, messages=user(), stream=True))
    assert error.value.type == "server_error"
    assert error.value.message


class _Uncited(ProviderServer):
    """A model whose answers have no citations."""

    def answer(self, request: Request) -> tuple[Reply, Fault | None]:
        reply, fault = super().answer(request)
        citations = (b'"content": " ["', b'"content": "1]"')
        return replace(
            reply, pieces=tuple(piece for piece in reply.pieces if not any(citation in piece for citation in citations))
        ), fault


def test_unsupported_stream_is_retracted_by_its_last_chunk(settings: Settings, nim_corpus: Corpus) -> None:
    with _Uncited() as model, client_of(settings.model_copy(update={"nim_url": model.nim_url})) as client:
        chunks = list(client.chat.completions.create(model=nim_corpus.name, messages=user(), stream=True))
        whole = client.chat.completions.create(model=nim_corpus.name, messages=user())
    last = chunks[-1]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    if text != "Not in the documents.":  # only if unsupported text was streamed at all
        assert last.choices[0].finish_reason == "content_filter"
        assert extension(last)["retracted"] is True
        assert extension(last)["answer"] == "Not in the documents."
    assert extension(last)["citations"] == []
    assert whole.choices[0].message.content == "Not in the documents."
    assert extension(whole)["retracted"] is False


def test_unavailable_provider_returns_503_with_retry_after(
    nim_settings: Settings, nim_corpus: Corpus, provider: ProviderServer
) -> None:
    nim_corpus.define(
        generation={"provider": "nim", "model": "meta/llama-3.1-8b-instruct", "deadline_s": 1, "fallback": []}
    )
    provider.fail("/chat/completions", *[status(503)] * 20)
    with client_of(nim_settings) as client, pytest.raises(openai.InternalServerError) as error:
        client.chat.completions.create(model=nim_corpus.name, messages=user())
    assert error.value.status_code == 503
    assert error.value.type == "server_error"
    assert int(error.value.response.headers["retry-after"]) >= 1


def test_idle_stream_sends_heartbeat_comments(
    nim_settings: Settings, nim_corpus: Corpus, provider: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.answering.HEARTBEAT_S", 0.1)
    provider.fail("/chat/completions", hang(after=3))
    nim_corpus.define(
        generation={"provider": "nim", "model": "meta/llama-3.1-8b-instruct", "deadline_s": 1, "fallback": []}
    )
    body = {"model": nim_corpus.name, "messages": user(), "stream": True}
    with (
        client_of(nim_settings) as client,
        httpx.stream("POST", f"{client.base_url}chat/completions", json=body, timeout=20) as response,
    ):
        lines = list(response.iter_lines())
    assert any(line.startswith(":") for line in lines)
    data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    assert "error" in json.loads(data[-1])


PAGES = ["README.md", "docs/reference/openai.md"]


@pytest.mark.parametrize("page", PAGES)
def test_openai_client_example_in_the_docs_works(page: str, client: openai.OpenAI, released: Corpus) -> None:
    address = str(client.base_url).removesuffix("/v1/")
    code = snippet(page, "python", "import OpenAI", address=address, kb=released.name, question=QUESTION)
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "bakery 3" in completed.stdout
    assert "doc3.md" in completed.stdout


@pytest.mark.parametrize("page", PAGES)
def test_curl_example_in_the_docs_streams(page: str, client: openai.OpenAI, released: Corpus) -> None:
    address = str(client.base_url).removesuffix("/v1/")
    command = snippet(page, "", "curl -N", address=address, kb=released.name, question=QUESTION)
    completed = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=True)
    assert "bakery 3" in completed.stdout
    assert completed.stdout.strip().endswith("data: [DONE]")
