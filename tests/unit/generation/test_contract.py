"""Contract test of all generators with a remote language model."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from collections.abc import Generator as GeneratorType
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
from tests.unit.generation.cancellation import ObservedDeadline, cancelled_when
from tests.unit.generation.passages import passage

NIM, CLAUDE = "meta/llama-3.1-8b-instruct", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
OPEN: dict[str, Callable[[ProviderServer, float], Generator]] = {
    "nim": lambda server, seconds: NimGenerator(server.nim_url, NIM, deadline_s=seconds),
    "bedrock": lambda server, seconds: BedrockGenerator(CLAUDE, url=server.url, deadline_s=seconds),
}
PATH = {"nim": "/chat/completions", "bedrock": "/converse-stream"}
# Events of the fake server up to the first text: NIM sends a comment and a role first, Bedrock a role.
FIRST_TEXT = {"nim": 3, "bedrock": 2}
PASSAGES = [passage("Badgers dig setts at night. They eat worms."), passage("Foxes do not.", rank=2)]
ANSWER = "Badgers dig setts at night. [1]"

OpenGenerator = Callable[[float], Generator]


@pytest.fixture(params=sorted(OPEN))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def generator(kind: str, provider: ProviderServer) -> Iterator[OpenGenerator]:
    generators: list[Generator] = []

    def open_one(deadline_s: float = 5.0) -> Generator:
        generators.append(OPEN[kind](provider, deadline_s))
        return generators[-1]

    yield open_one
    for opened in generators:
        opened.close()


def has_more_requests(provider: ProviderServer, requests: int) -> bool:
    """Return whether the provider has received more requests than this."""
    return len(provider.requests) > requests


def _ask(generator: Generator) -> list[Piece]:
    return list(generator.stream("When do badgers dig?", PASSAGES))


def test_last_piece_has_finish_reason_and_usage(generator: OpenGenerator) -> None:
    pieces = _ask(generator(5.0))
    assert "".join(piece.text for piece in pieces) == ANSWER
    assert len(pieces) > 3
    assert [piece.finish_reason for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
    assert pieces[-1].finish_reason == "stop"
    assert pieces[-1].usage is not None
    assert pieces[-1].usage.input_tokens > 100
    assert pieces[-1].usage.output_tokens > 0


def test_name_consists_of_provider_and_model(generator: OpenGenerator, kind: str) -> None:
    assert generator(5.0).name == {"nim": f"nim:{NIM}", "bedrock": f"bedrock:{CLAUDE}"}[kind]


@pytest.mark.parametrize(
    "fault",
    [status(429, retry_after=0.05), status(503), cut(0), error_in_stream(0), garbage()],
    ids=lambda fault: fault.kind,
)
def test_fault_before_the_first_piece_is_retried(
    generator: OpenGenerator, provider: ProviderServer, kind: str, fault: Fault
) -> None:
    provider.fail(PATH[kind], fault)
    assert "".join(piece.text for piece in _ask(generator(5.0))) == ANSWER
    assert len(provider.requests) == 2


@pytest.mark.parametrize("fault", [status(500), hang(), garbage(), cut(0)], ids=lambda fault: fault.kind)
def test_persistent_fault_is_unavailable_at_the_deadline(
    generator: OpenGenerator, provider: ProviderServer, kind: str, fault: Fault
) -> None:
    provider.fail(PATH[kind], always=fault)
    started = time.monotonic()
    with pytest.raises(ProviderUnavailable):
        _ask(generator(0.3))
    assert time.monotonic() - started < 4


@pytest.mark.parametrize("fault", ["cut", "clean cut", "error", "hang"])
def test_fault_after_the_first_piece_is_not_retried(
    generator: OpenGenerator, provider: ProviderServer, kind: str, fault: str
) -> None:
    after = FIRST_TEXT[kind]
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


def test_stream_that_ends_early_is_reported_as_cut_off(
    generator: OpenGenerator, provider: ProviderServer, kind: str
) -> None:
    provider.fail(PATH[kind], cut(FIRST_TEXT[kind], clean=True))
    with pytest.raises(ProviderUnavailable, match="cut off"):
        _ask(generator(5.0))


def test_slow_answer_ends_at_the_deadline(generator: OpenGenerator, provider: ProviderServer, kind: str) -> None:
    provider.fail(PATH[kind], always=drip(0.002))
    started = time.monotonic()
    with pytest.raises(ProviderUnavailable, match=r"within 0\.4 s|in time"):
        _ask(generator(0.4))
    assert time.monotonic() - started < 4


@pytest.mark.parametrize("code", [400, 403, 404])
def test_rejection_names_the_model_and_is_not_retried(
    generator: OpenGenerator, provider: ProviderServer, kind: str, code: int
) -> None:
    provider.fail(PATH[kind], always=status(code))
    with pytest.raises(ProviderRejected, match=NIM if kind == "nim" else CLAUDE):
        _ask(generator(5.0))
    assert len(provider.requests) == 1


def test_closing_the_iterator_closes_the_request(generator: OpenGenerator, provider: ProviderServer, kind: str) -> None:
    provider.fail(PATH[kind], hang(after=FIRST_TEXT[kind]))
    pieces = cast("GeneratorType[Piece, None, None]", generator(30.0).stream("When?", PASSAGES))
    next(pieces)
    pieces.close()
    assert provider.left_early.wait(5)


def test_cancelling_interrupts_a_wait_for_the_provider(
    generator: OpenGenerator, provider: ProviderServer, kind: str
) -> None:
    # boto3 exposes no connection before Bedrock's stream starts, so cancelling cannot interrupt that wait.
    for after in (0, FIRST_TEXT[kind]) if kind == "nim" else (FIRST_TEXT[kind],):
        provider.fail(PATH[kind], hang(after))
        model, requests = generator(30.0), len(provider.requests)
        deadline = Deadline(30)
        pieces = model.stream("When?", PASSAGES, deadline)
        if after:
            next(pieces)
        started = time.monotonic()
        with (
            cancelled_when(deadline, partial(has_more_requests, provider, requests)),
            pytest.raises(ProviderUnavailable),
        ):
            list(pieces)
        assert time.monotonic() - started < 10
        assert provider.left_early.wait(5)
        provider.left_early.clear()


def test_cancelling_interrupts_the_wait_before_a_retry(
    generator: OpenGenerator, provider: ProviderServer, kind: str
) -> None:
    provider.fail(PATH[kind], always=status(429, retry_after=15))
    model = generator(60.0)
    deadline = ObservedDeadline(60)
    started = time.monotonic()
    with (
        cancelled_when(deadline, lambda: deadline.sleeps),
        pytest.raises(ProviderUnavailable, match="its caller is gone"),
    ):
        list(model.stream("When?", PASSAGES, deadline))
    assert time.monotonic() - started < 10
    assert len(provider.requests) == 1


def test_cancelled_request_is_not_sent(generator: OpenGenerator, provider: ProviderServer, kind: str) -> None:
    deadline = Deadline(30)
    deadline.cancel()
    with pytest.raises(ProviderUnavailable, match="its caller is gone"):
        list(generator(30.0).stream("When?", PASSAGES, deadline))
    assert not provider.requests


def test_cancellation_is_not_counted_as_a_failure_of_the_model(kind: str, provider: ProviderServer) -> None:
    endpoint = Endpoint("model")
    generator = _generator(kind, provider, endpoint)
    provider.fail(PATH[kind], always=hang(after=FIRST_TEXT[kind]))
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
    generator = _generator(kind, provider, endpoint)
    for fault, error in ((status(403), ProviderRejected), (cut(FIRST_TEXT[kind]), ProviderUnavailable)):
        provider.fail(PATH[kind], fault)
        with pytest.raises(error):
            list(generator.stream("When?", PASSAGES))
    assert endpoint.state.failures == {"rejected": 1, "unavailable": 1}


@pytest.mark.parametrize("after", ["before", "after"])
def test_silence_before_and_between_tokens_times_out(kind: str, provider: ProviderServer, after: str) -> None:
    limits = EndpointLimits(
        first_token_timeout_s=1.0 if after == "before" else 20.0,
        inter_token_timeout_s=20.0 if after == "before" else 1.0,
    )
    generator = _generator(kind, provider, Endpoint("model", limits))
    provider.fail(PATH[kind], always=hang(after=FIRST_TEXT[kind] if after == "after" else 0))
    started = time.monotonic()
    with pytest.raises(ProviderUnavailable):
        list(generator.stream("When?", PASSAGES, Deadline(60)))
    assert time.monotonic() - started < 10


def _generator(kind: str, provider: ProviderServer, endpoint: Endpoint) -> Generator:
    """Return a generator of an endpoint. The fake server closes it."""
    generator: Generator = (
        NimGenerator(provider.nim_url, NIM, endpoint=endpoint)
        if kind == "nim"
        else BedrockGenerator(CLAUDE, url=provider.url, endpoint=endpoint)
    )
    provider.clients.callback(generator.close)
    return generator
