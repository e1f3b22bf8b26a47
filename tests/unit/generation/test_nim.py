"""What is NIM's own: reasoning, queues, errors in the stream."""

from __future__ import annotations

import time
from contextlib import closing

import pytest

from mindset.errors import ProviderUnavailable
from mindset.generation.nim import NimGenerator
from mindset.providers.deadline import Deadline
from tests.providers import ProviderServer, error_in_stream, queued
from tests.unit.generation.cancellation import cancelled_when
from tests.unit.generation.passages import passage

NEMOTRON, LLAMA = "nvidia/llama-3.1-nemotron-nano-8b-v1", "meta/llama-3.1-8b-instruct"


def _text(provider: ProviderServer, model: str, text: str = "Owls hoot.", deadline_s: float = 5.0) -> str:
    generator = provider.clients.enter_context(closing(NimGenerator(provider.nim_url, model, deadline_s=deadline_s)))
    return "".join(piece.text for piece in generator.stream("Who hoots?", [passage(text)]))


def test_nemotron_is_told_not_to_think_and_others_are_not(provider: ProviderServer) -> None:
    assert _text(provider, NEMOTRON) == _text(provider, LLAMA) == "Owls hoot. [1]"
    systems = [request.body["messages"][0]["content"] for request in provider.requests]
    assert systems[0].startswith("detailed thinking off\n")
    assert "detailed thinking" not in systems[1]


def test_reasoning_that_comes_all_the_same_is_left_out(
    provider: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.providers.nim.chat_deltas", lambda _: ["<thi", "nk>Hm [7].</th", "ink>\n\n", "Owls."])
    assert _text(provider, LLAMA) == "Owls."


def test_a_line_separator_in_the_text_does_not_end_the_line(
    provider: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The stand-in sends it as it is, as JSON allows.
    monkeypatch.setattr("tests.providers.nim.chat_deltas", lambda _: ["Owls\u2028hoot", "\u0085 [1]"])
    assert _text(provider, LLAMA) == "Owls\u2028hoot\u0085 [1]"


def test_a_queued_answer_is_fetched_when_it_is_ready(provider: ProviderServer) -> None:
    provider.fail("/chat/completions", queued(2))
    assert _text(provider, LLAMA) == "Owls hoot. [1]"
    assert [request.method for request in provider.requests] == ["POST", "GET", "GET", "GET"]


def test_an_answer_queued_for_too_long_is_unavailable(provider: ProviderServer) -> None:
    provider.fail("/chat/completions", queued(10_000))
    with pytest.raises(ProviderUnavailable, match=r"in time|within"):
        _text(provider, LLAMA, deadline_s=0.3)


def test_whoever_leaves_while_an_answer_is_queued_ends_the_polling(provider: ProviderServer) -> None:
    provider.fail("/chat/completions", queued(10_000))
    generator = provider.clients.enter_context(closing(NimGenerator(provider.nim_url, LLAMA)))
    deadline = Deadline(60)
    started = time.monotonic()
    with (
        cancelled_when(deadline, lambda: len(provider.requests) > 1),  # the question, and a poll
        pytest.raises(ProviderUnavailable, match="whoever asked has gone"),
    ):
        list(generator.stream("Who hoots?", [passage("Owls hoot.")], deadline))
    assert time.monotonic() - started < 20


def test_an_error_in_the_stream_is_told(provider: ProviderServer) -> None:
    provider.fail("/chat/completions", error_in_stream(3))
    with pytest.raises(ProviderUnavailable, match="the engine died"):
        _text(provider, LLAMA)
