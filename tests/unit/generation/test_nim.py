"""Tests of the NIM generator: reasoning, queued requests, errors in the stream."""

from __future__ import annotations

import time
from contextlib import closing

import pytest

from mindset.errors import ProviderUnavailable
from mindset.generation.nim import NimGenerator
from tests.providers import ProviderServer, error_in_stream, queued
from tests.unit.generation.cancellation import ObservedDeadline, cancelled_when
from tests.unit.generation.passages import passage

NEMOTRON, LLAMA = "nvidia/llama-3.1-nemotron-nano-8b-v1", "meta/llama-3.1-8b-instruct"


def _text(provider: ProviderServer, model: str, text: str = "Owls hoot.", deadline_s: float = 5.0) -> str:
    generator = provider.clients.enter_context(closing(NimGenerator(provider.nim_url, model, deadline_s=deadline_s)))
    return "".join(piece.text for piece in generator.stream("Who hoots?", [passage(text)]))


def test_reasoning_is_turned_off_for_nemotron_only(provider: ProviderServer) -> None:
    assert _text(provider, NEMOTRON) == _text(provider, LLAMA) == "Owls hoot. [1]"
    systems = [request.body["messages"][0]["content"] for request in provider.requests]
    assert systems[0].startswith("detailed thinking off\n")
    assert "detailed thinking" not in systems[1]


def test_reasoning_in_the_stream_is_removed(provider: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.providers.nim.chat_deltas", lambda _: ["<thi", "nk>Hm [7].</th", "ink>\n\n", "Owls."])
    assert _text(provider, LLAMA) == "Owls."


def test_unicode_line_separator_does_not_end_an_event(
    provider: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The fake server sends it unescaped, as JSON allows.
    monkeypatch.setattr("tests.providers.nim.chat_deltas", lambda _: ["Owls\u2028hoot", "\u0085 [1]"])
    assert _text(provider, LLAMA) == "Owls\u2028hoot\u0085 [1]"


def test_queued_request_is_polled(provider: ProviderServer) -> None:
    provider.fail("/chat/completions", queued(2))
    assert _text(provider, LLAMA) == "Owls hoot. [1]"
    assert [request.method for request in provider.requests] == ["POST", "GET", "GET", "GET"]


def test_request_queued_past_the_deadline_is_unavailable(provider: ProviderServer) -> None:
    provider.fail("/chat/completions", queued(10_000))
    with pytest.raises(ProviderUnavailable, match=r"in time|within"):
        _text(provider, LLAMA, deadline_s=0.3)


def test_cancelling_ends_the_polling(provider: ProviderServer) -> None:
    provider.fail("/chat/completions", queued(10_000))
    generator = provider.clients.enter_context(closing(NimGenerator(provider.nim_url, LLAMA)))
    deadline = ObservedDeadline(60)
    started = time.monotonic()
    with (
        cancelled_when(deadline, lambda: deadline.sleeps > 1),
        pytest.raises(ProviderUnavailable, match="its caller is gone"),
    ):
        list(generator.stream("Who hoots?", [passage("Owls hoot.")], deadline))
    assert time.monotonic() - started < 20


def test_error_in_the_stream_is_reported(provider: ProviderServer) -> None:
    provider.fail("/chat/completions", error_in_stream(3))
    with pytest.raises(ProviderUnavailable, match="the engine died"):
        _text(provider, LLAMA)
