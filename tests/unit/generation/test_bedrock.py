"""Tests of the Bedrock generator: stop reasons, errors in the stream, native citations."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any, cast

import pytest

from mindset.errors import ProviderRejected, ProviderUnavailable
from mindset.generation.answer_stream import Answer, stream_answer
from mindset.generation.bedrock import BedrockGenerator, _NativeCitations
from mindset.generation.protocol import Piece
from tests.providers import ProviderServer, error_in_stream
from tests.unit.generation.passages import passage

MODEL = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/eu.anthropic.claude-v1:0"


def _generator(provider: ProviderServer, model: str = MODEL, *, cites: bool = False) -> BedrockGenerator:
    generator = BedrockGenerator(model, url=provider.url, deadline_s=5.0, cites=cites)
    return provider.clients.enter_context(closing(generator))


def _ask(provider: ProviderServer, model: str = MODEL) -> list[Piece]:
    return list(_generator(provider, model).stream("Who hoots?", [passage("Owls hoot.")]))


@pytest.mark.parametrize(
    ("stop", "finish"),
    [
        ("end_turn", "stop"),
        ("max_tokens", "length"),
        ("content_filtered", "content_filter"),
        ("guardrail_intervened", "guardrail"),
        ("a_new_one", "a_new_one"),
    ],
)
def test_stop_reasons_are_mapped(provider: ProviderServer, stop: str, finish: str) -> None:
    provider.stop_reason = stop
    assert _ask(provider)[-1].finish_reason == finish


@pytest.mark.parametrize(
    "name",
    [
        "internalServerException",
        "modelStreamErrorException",
        "serviceUnavailableException",
        "throttlingException",
    ],
)
def test_transient_error_in_the_stream_is_unavailable(provider: ProviderServer, name: str) -> None:
    provider.fail("/converse-stream", error_in_stream(2, name))
    with pytest.raises(ProviderUnavailable, match=name[1:]):
        _ask(provider)


def test_validation_error_in_the_stream_is_rejected(provider: ProviderServer) -> None:
    provider.fail("/converse-stream", always=error_in_stream(0, "validationException"))
    with pytest.raises(ProviderRejected, match="ValidationException"):
        _ask(provider)
    assert len(provider.requests) == 1


def test_retired_model_is_reported_with_the_remedy(provider: ProviderServer) -> None:
    with pytest.raises(ProviderRejected, match=r"retired-claude.*end of its life.*Set the knowledge base's model"):
        _ask(provider, "retired-claude")


def test_native_citations_are_converted_to_markers(provider: ProviderServer) -> None:
    passages = [passage("Owls hoot at night. They sleep by day.", heading_path=("Birds",)), passage("Cats purr.", 2)]
    *_, answer = stream_answer(_generator(provider, cites=True), "Who <question>hoots?", passages)
    assert isinstance(answer, Answer)
    assert (answer.text, answer.supported) == ("Owls hoot at night. [1]", True)
    assert [(citation.passage, citation.start, citation.end) for citation in answer.citations] == [(1, 0, 20)]
    (request,) = provider.requests
    *results, question = request.body["messages"][0]["content"]
    assert [result["searchResult"]["content"] for result in results] == [
        [{"text": passage.text}] for passage in passages
    ]
    assert results[0]["searchResult"]["title"] == "Guide > Birds"
    assert question["text"].count("<question>") == 1
    assert "numbers in brackets" in request.body["system"][0]["text"]


def _with_markers(*events: dict[str, Any], numbers: Sequence[int]) -> str:
    citations = _NativeCitations(numbers)
    texts = (event.get("contentBlockDelta", {}).get("delta", {}).get("text", "") for event in events)
    return "".join(citations.add_markers(cast("Any", event), text) for event, text in zip(events, texts, strict=True))


def _text(text: str) -> dict[str, Any]:
    return {"contentBlockDelta": {"delta": {"text": text}, "contentBlockIndex": 0}}


def _citation(index: int) -> dict[str, Any]:
    location = {"searchResultLocation": {"searchResultIndex": index, "start": 0, "end": 1}}
    return {"contentBlockDelta": {"delta": {"citation": {"location": location}}, "contentBlockIndex": 0}}


_STOP = {"contentBlockStop": {"contentBlockIndex": 0}}


def test_block_is_followed_by_its_citations_without_unknown_results() -> None:
    blocks = [
        _text("Owls hoot"), _citation(1), _citation(0), _citation(1), _STOP, _text(" and "), _STOP,
        _text("cats purr.\n\n"), _citation(2), _STOP, _text("Dogs?"), _citation(9), _citation(-1), _STOP,
    ]  # fmt: skip
    assert _with_markers(*blocks, numbers=[1, 3, 4]) == "Owls hoot [3][1] and cats purr. [4]\n\nDogs?"


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([_text("See ["), _text("1] and argv[2]."), _STOP], "See  and argv ."),
        ([_text("Run:\n```sh\nls\n```"), _citation(0), _STOP, _text("\nThen")], "Run:\n```sh\nls\n```\n\n[1]\nThen"),
        ([_text("Owls hoot. "), _citation(0), {"messageStop": {"stopReason": "end_turn"}}], "Owls hoot. [1] "),
    ],
    ids=["markers of the model", "code fence", "no end of block"],
)
def test_only_native_citations_are_marked_and_markup_stays_intact(events: list[dict[str, Any]], expected: str) -> None:
    assert _with_markers(*events, numbers=[1, 2]) == expected


def test_passage_without_visible_text_is_sent_as_a_valid_search_result(provider: ProviderServer) -> None:
    hidden = passage('<div style="display:none">Owls hoot.</div>', 2, title="<!-- nothing -->")
    *_, answer = stream_answer(_generator(provider, cites=True), "Who hoots?", [passage("Owls hoot at night."), hidden])
    assert isinstance(answer, Answer)
    assert answer.supported
    result = provider.requests[0].body["messages"][0]["content"][1]["searchResult"]
    assert (result["title"], result["content"], result["source"]) == ("passage 2", [{"text": "-"}], "passage 2")
