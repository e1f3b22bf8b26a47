"""What holds for every generator that is a language model elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from collections.abc import Generator as Running
from functools import partial
from typing import cast

import pytest

from mindset.errors import ProviderRejected, ProviderUnavailable
from mindset.generation.bedrock import BedrockGenerator
from mindset.generation.endpoint import Endpoint, EndpointLimits
from mindset.generation.nim import NimGenerator
from mindset.generation.protocol import Generator, Piece
from mindset.providers.circuit_breaker import CircuitBreaker
from mindset.providers.deadline import Deadline
from tests.providers import Fault, ProviderServer, cut, drip, error_in_stream, garbage, hang, status
from tests.unit.generation.cancellation import cancelled_when
from tests.unit.generation.passages import passage

NIM, CLAUDE = "meta/llama-3.1-8b-instruct", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
OPEN: dict[str, Callable[[ProviderServer, float], Generator]] = {
    "nim": lambda at, seconds: NimGenerator(at.nim_url, NIM, deadline_s=seconds),
    "bedrock": lambda at, seconds: BedrockGenerator(CLAUDE, url=at.url, deadline_s=seconds),
}
PATH = {"nim": "/chat/completions", "bedrock": "/converse-stream"}
# Pieces of the stand-in's stream until it has said something: NIM sends a comment and a role first, Bedrock a role.
SAID = {"nim": 3, "bedrock": 2}
PASSAGES = [passage("Badgers dig setts at night. They eat worms."), passage("Foxes do not.", rank=2)]
ANSWER = "Badgers dig setts at night. [1]"

OpenGenerator = Callable[[float], Generator]


@pytest.fixture(params=sorted(OPEN))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def generator(kind: str, provider: ProviderServer) -> Iterator[OpenGenerator]:
    opened: list[Generator] = []

    def open_one(deadline_s: float = 5.0) -> Generator:
        opened.append(OPEN[kind](provider, deadline_s))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()


def asked_again(provider: ProviderServer, requests: int) -> bool:
    """Whether the provider has had more requests than this."""
    return len(provider.requests) > requests


def _ask(generator: Generator) -> list[Piece]:
    return list(generator.stream("When do badgers dig?", PASSAGES))


def test_an_answer_comes_in_pieces_and_the_last_says_why_it_ended_and_what_it_cost(generator: OpenGenerator) -> None:
    pieces = _ask(generator(5.0))
    assert "".join(piece.text for piece in pieces) == ANSWER
    assert len(pieces) > 3
    assert [piece.finish_reason for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
    assert pieces[-1].finish_reason == "stop"
    assert pieces[-1].usage is not None
    assert pieces[-1].usage.input_tokens > 100
    assert pieces[-1].usage.output_tokens > 0


def test_the_name_says_provider_and_model(generator: OpenGenerator, kind: str) -> None:
    assert generator(5.0).name == {"nim": f"nim:{NIM}", "bedrock": f"bedrock:{CLAUDE}"}[kind]


@pytest.mark.parametrize(
    "fault", [status(429, retry_after=0.05), status(503), cut(0), error_in_stream(0), garbage()], ids=lambda f: f.kind
)
def test_a_fault_before_the_first_piece_is_tried_again(
    generator: OpenGenerator, provider: ProviderServer, kind: str, fault: Fault
) -> None:
    provider.fail(PATH[kind], fault)
    assert "".join(piece.text for piece in _ask(generator(5.0))) == ANSWER
    assert len(provider.requests) == 2


@pytest.mark.parametrize("fault", [status(500), hang(), garbage(), cut(0)], ids=lambda fault: fault.kind)
def test_a_fault_that_stays_is_unavailable_at_the_deadline(
    generator: OpenGenerator, provider: ProviderServer, kind: str, fault: Fault
) -> None:
    provider.fail(PATH[kind], always=fault)
    started = time.monotonic()
    with pytest.raises(ProviderUnavailable):
        _ask(generator(0.3))
    assert time.monotonic() - started < 4


@pytest.mark.parametrize("fault", ["cut", "clean cut", "error", "hang"])
def test_a_fault_after_the_first_piece_is_unavailable_and_not_tried_again(
    generator: OpenGenerator, provider: ProviderServer, kind: str, fault: str
) -> None:
    after = SAID[kind]
    faults = {
        "cut": cut(after),
        "clean cut": cut(after, clean=True),
        "error": error_in_stream(after),
        "hang": hang(after),
    }
    provider.fail(PATH[kind], faults[fault])
    pieces = generator(1.5).stream("When?", PASSAGES)
    assert next(pieces).text == "Badgers dig setts"
    with pytest.raises(ProviderUnavailable):
        list(pieces)
    assert len(provider.requests) == 1


def test_a_stream_that_ends_early_is_called_cut_off(
    generator: OpenGenerator, provider: ProviderServer, kind: str
) -> None:
    provider.fail(PATH[kind], cut(SAID[kind], clean=True))
    with pytest.raises(ProviderUnavailable, match="cut off"):
        _ask(generator(5.0))


def test_a_dripping_answer_ends_at_the_deadline(generator: OpenGenerator, provider: ProviderServer, kind: str) -> None:
    provider.fail(PATH[kind], always=drip(0.002))
    started = time.monotonic()
    with pytest.raises(ProviderUnavailable, match=r"within 0\.4 s|in time"):
        _ask(generator(0.4))
    assert time.monotonic() - started < 4


@pytest.mark.parametrize("code", [400, 403, 404])
def test_a_refusal_names_the_model_and_is_not_tried_again(
    generator: OpenGenerator, provider: ProviderServer, kind: str, code: int
) -> None:
    provider.fail(PATH[kind], always=status(code))
    with pytest.raises(ProviderRejected, match=NIM if kind == "nim" else CLAUDE):
        _ask(generator(5.0))
    assert len(provider.requests) == 1


def test_a_reader_who_leaves_closes_the_request(generator: OpenGenerator, provider: ProviderServer, kind: str) -> None:
    provider.fail(PATH[kind], hang(after=SAID[kind]))
    pieces = cast("Running[Piece, None, None]", generator(30.0).stream("When?", PASSAGES))
    next(pieces)
    pieces.close()
    assert provider.left_early.wait(5)


def test_whoever_cancels_ends_an_answer_that_waits(
    generator: OpenGenerator, provider: ProviderServer, kind: str
) -> None:
    # Before Bedrock's stream begins boto3 shows no connection: its time-out ends that wait.
    for after in (0, SAID[kind]) if kind == "nim" else (SAID[kind],):
        provider.fail(PATH[kind], hang(after))
        asked, requests = generator(30.0), len(provider.requests)
        deadline = Deadline(30)
        pieces = asked.stream("When?", PASSAGES, deadline)
        if after:
            next(pieces)
        started = time.monotonic()
        with cancelled_when(deadline, partial(asked_again, provider, requests)), pytest.raises(ProviderUnavailable):
            list(pieces)
        assert time.monotonic() - started < 10
        assert provider.left_early.wait(5)
        provider.left_early.clear()


def test_whoever_cancels_while_a_retry_is_waited_for_ends_that_wait(
    generator: OpenGenerator, provider: ProviderServer, kind: str
) -> None:
    provider.fail(PATH[kind], always=status(429, retry_after=15))
    asked = generator(60.0)
    deadline = Deadline(60)
    started = time.monotonic()
    with (
        cancelled_when(deadline, partial(asked_again, provider, 0)),
        pytest.raises(ProviderUnavailable, match="whoever asked has gone"),
    ):
        list(asked.stream("When?", PASSAGES, deadline))
    assert time.monotonic() - started < 10
    assert len(provider.requests) == 1


def test_for_a_reader_who_has_gone_nobody_is_asked(
    generator: OpenGenerator, provider: ProviderServer, kind: str
) -> None:
    deadline = Deadline(30)
    deadline.cancel()
    with pytest.raises(ProviderUnavailable, match="whoever asked has gone"):
        list(generator(30.0).stream("When?", PASSAGES, deadline))
    assert not provider.requests


def test_that_a_reader_has_gone_is_not_held_against_the_model(kind: str, provider: ProviderServer) -> None:
    endpoint = Endpoint("model")
    generator = _at(kind, provider, endpoint)
    provider.fail(PATH[kind], always=hang(after=SAID[kind]))
    for _ in range(6):
        deadline = Deadline(30)
        pieces = generator.stream("When?", PASSAGES, deadline)
        next(pieces)
        threading.Timer(0.05, deadline.cancel).start()
        with pytest.raises(ProviderUnavailable):
            list(pieces)
    assert endpoint.state.breaker == "closed"
    assert not endpoint.state.failures
    assert endpoint.state.in_flight == 0


def test_failures_are_counted_by_kind(kind: str, provider: ProviderServer) -> None:
    endpoint = Endpoint("model", breaker=CircuitBreaker("model", failures=2))
    generator = _at(kind, provider, endpoint)
    for fault, error in ((status(403), ProviderRejected), (cut(SAID[kind]), ProviderUnavailable)):
        provider.fail(PATH[kind], fault)
        with pytest.raises(error):
            list(generator.stream("When?", PASSAGES))
    assert endpoint.state.failures == {"rejected": 1, "unavailable": 1}


@pytest.mark.parametrize("after", ["before", "after"])
def test_silence_is_borne_for_its_own_time(kind: str, provider: ProviderServer, after: str) -> None:
    limits = EndpointLimits(
        first_token_timeout_s=1.0 if after == "before" else 20.0,
        inter_token_timeout_s=20.0 if after == "before" else 1.0,
    )
    generator = _at(kind, provider, Endpoint("model", limits))
    provider.fail(PATH[kind], always=hang(after=SAID[kind] if after == "after" else 0))
    started = time.monotonic()
    with pytest.raises(ProviderUnavailable):
        list(generator.stream("When?", PASSAGES, Deadline(60)))
    assert time.monotonic() - started < 10


def _at(kind: str, provider: ProviderServer, endpoint: Endpoint) -> Generator:
    """A generator behind an endpoint, closed with the stand-in."""
    generator: Generator = (
        NimGenerator(provider.nim_url, NIM, endpoint=endpoint)
        if kind == "nim"
        else BedrockGenerator(CLAUDE, url=provider.url, endpoint=endpoint)
    )
    provider.clients.callback(generator.close)
    return generator
