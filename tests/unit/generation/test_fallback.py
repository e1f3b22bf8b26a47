"""Tests of fallback routes, endpoints, circuit breakers and retry budgets."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress

import pytest

from mindset.errors import Overloaded, ProviderRejected, ProviderUnavailable
from mindset.generation.endpoint import Endpoint, EndpointLimits
from mindset.generation.extractive import ExtractiveGenerator
from mindset.generation.fallback import FallbackGenerator
from mindset.generation.nim import NimGenerator
from mindset.generation.protocol import Piece
from mindset.providers.circuit_breaker import CircuitBreaker
from mindset.providers.deadline import Deadline, RetryBudget
from mindset.retrieval.passage import Passage
from tests.providers import ProviderServer, hang, status
from tests.unit.generation.passages import passage
from tests.waiting import wait_until

MODEL = "meta/llama-3.1-8b-instruct"
PASSAGES = [passage("Badgers dig setts at night. They eat worms."), passage("Foxes do not.", rank=2)]


class Scripted:
    """A generator that yields the pieces of its script and raises the errors in it."""

    def __init__(self, name: str, *script: Piece | Exception) -> None:
        self.name, self._script = name, script
        self.timeouts_s: list[float] = []

    def stream(
        self, question: str, passages: Sequence[Passage], deadline: Deadline | None = None
    ) -> Generator[Piece, None, None]:
        self.timeouts_s.append(deadline.first_token_timeout_s if deadline else 0)
        for item in self._script:
            if isinstance(item, Exception):
                raise item
            yield item

    def close(self) -> None: ...


def collect(pieces: Iterator[Piece]) -> tuple[str, str | None, tuple[str, ...]]:
    """Return the text, the generator and the fallback reasons."""
    text: str = ""
    generator: str | None = None
    fallback_reasons: tuple[str, ...] = ()
    for piece in pieces:
        text += piece.text
        if piece.generator:
            generator, fallback_reasons = piece.generator, piece.fallback_reasons
    return text, generator, fallback_reasons


@pytest.mark.parametrize("failure", [ProviderUnavailable("down"), ProviderRejected("no access"), Overloaded("full")])
def test_next_generator_answers_if_one_fails(failure: Exception) -> None:
    route = FallbackGenerator([Scripted("a", failure), Scripted("b", Piece("Hello"))])
    assert collect(route.stream("?", PASSAGES)) == ("Hello", "b", (str(failure),))


def test_no_fallback_after_the_first_piece() -> None:
    other = Scripted("b", Piece("Hello"))
    pieces = FallbackGenerator([Scripted("a", Piece("Good"), ProviderUnavailable("cut"))], 5).stream("?", PASSAGES)
    with pytest.raises(ProviderUnavailable, match="cut"):
        list(pieces)
    assert not other.timeouts_s


def test_generators_share_the_time_until_the_deadline() -> None:
    first, second, last = (Scripted(name, ProviderUnavailable("down")) for name in "abc")
    with pytest.raises(ProviderUnavailable):
        list(FallbackGenerator([first, second, last]).stream("?", PASSAGES, Deadline(10)))
    assert 4 < first.timeouts_s[0] < 5
    assert 9 < second.timeouts_s[0] < 10


def test_timed_out_generator_leaves_time_for_the_next_ones(provider: ProviderServer) -> None:
    provider.fail("/chat/completions", always=hang())
    hanging = NimGenerator(
        provider.nim_url, MODEL, endpoint=Endpoint("model", EndpointLimits(first_token_timeout_s=0.3))
    )
    provider.clients.callback(hanging.close)
    second, last = Scripted("b", ProviderUnavailable("down")), Scripted("c", Piece("Hello"))
    assert collect(FallbackGenerator([hanging, second, last]).stream("?", PASSAGES, Deadline(10)))[:2] == ("Hello", "c")
    assert second.timeouts_s[0] > 8
    assert last.timeouts_s[0] > 8


def test_wait_limit_ends_with_the_request(provider: ProviderServer) -> None:
    provider.fail("/chat/completions", always=hang())
    judge = NimGenerator(provider.nim_url, MODEL, endpoint=Endpoint("judge", EndpointLimits(first_token_timeout_s=0.3)))
    provider.clients.callback(judge.close)
    deadline = Deadline(10)
    with pytest.raises(ProviderUnavailable):
        list(judge.stream("?", PASSAGES, deadline))
    deadline.check("The guardrail")
    assert deadline.seconds_left() > 8


def test_open_circuit_takes_no_time_of_the_route(provider: ProviderServer) -> None:
    provider.fail("/chat/completions", always=status(500))
    endpoint = Endpoint("model", breaker=CircuitBreaker("model", failures=1, cooldown_s=60))
    generator = NimGenerator(provider.nim_url, MODEL, endpoint=endpoint)
    provider.clients.callback(generator.close)
    route = FallbackGenerator([generator, ExtractiveGenerator()])
    for _ in range(3):
        text, name, fallback_reasons = collect(route.stream("When do badgers dig setts?", PASSAGES, Deadline(5)))
        assert ("Badgers dig" in text, name, len(fallback_reasons)) == (True, "extractive:extractive", 1)
    assert len(provider.requests) == 1
    assert endpoint.state.failures == {"unavailable": 1, "circuit_open": 2}


def test_failure_of_the_last_generator_is_raised() -> None:
    with pytest.raises(ProviderRejected, match="second"):
        list(
            FallbackGenerator(
                [Scripted("a", ProviderUnavailable("first")), Scripted("b", ProviderRejected("second"))]
            ).stream("?", [])
        )


def test_extractive_fallback_answers_while_nim_hangs(provider: ProviderServer) -> None:
    provider.fail("/chat/completions", always=hang())
    with_quotes = FallbackGenerator([NimGenerator(provider.nim_url, MODEL), ExtractiveGenerator()])
    started = time.monotonic()
    text, name, fallback_reasons = collect(with_quotes.stream("When do badgers dig setts?", PASSAGES, Deadline(4)))
    assert time.monotonic() - started < 4
    assert name == "extractive:extractive"
    assert "Badgers dig" in text
    assert len(fallback_reasons) == 1


def test_breaker_opens_after_consecutive_failures_and_admits_a_probe() -> None:
    now = 0.0
    breaker = CircuitBreaker("model", failures=3, cooldown_s=2, clock=lambda: now)
    for _ in range(2):
        breaker.record_failure()
    breaker.record_success()
    for _ in range(3):
        breaker.admit()
        breaker.record_failure()
    assert str(breaker.state) == "open"
    with pytest.raises(ProviderUnavailable, match="3 times in a row"):
        breaker.admit()
    now = 2.0
    assert str(breaker.state) == "half-open"
    breaker.admit()
    with pytest.raises(ProviderUnavailable):
        breaker.admit()  # the probe is still in flight
    now = 4.0
    breaker.admit()
    breaker.record_success()
    assert str(breaker.state) == "closed"
    breaker.admit()


def test_circuit_opens_and_closes_again_when_the_provider_recovers(provider: ProviderServer) -> None:
    provider.fail("/chat/completions", always=status(500))
    generator = NimGenerator(provider.nim_url, MODEL)
    for _ in range(20):
        with pytest.raises(ProviderUnavailable):
            list(generator.stream("When?", PASSAGES, Deadline(0.5)))
    assert len(provider.requests) < 20
    provider.heal()

    def answers() -> bool:
        with suppress(ProviderUnavailable):
            return "Badgers" in "".join(piece.text for piece in generator.stream("When?", PASSAGES, Deadline(2)))
        return False

    wait_until(answers, message="The provider was not used again")
    generator.close()


def test_retry_budget_allows_retries_for_a_tenth_of_the_requests() -> None:
    budget = RetryBudget()
    spent = 0
    for _ in range(1_000):
        budget.earn()
        spent += budget.spend()
    assert 100 <= spent <= 110
    assert budget.spent == spent


def test_retries_of_a_throttled_model_stay_within_the_budget(provider: ProviderServer) -> None:
    provider.fail("/chat/completions", always=status(429, retry_after=0.01))
    endpoint = Endpoint("model", breaker=CircuitBreaker("model", failures=10_000))
    generator = NimGenerator(provider.nim_url, MODEL, endpoint=endpoint)
    for _ in range(100):
        with pytest.raises(ProviderUnavailable):
            list(generator.stream("When?", PASSAGES, Deadline(2)))
    assert len(provider.requests) <= 100 + 10 + 10
    generator.close()


def test_request_waits_for_a_slot_and_is_rejected_if_the_queue_is_full() -> None:
    endpoint = Endpoint("model", EndpointLimits(concurrency=1, queue_size=1, queue_timeout_s=20))
    proceed, entered = threading.Event(), threading.Event()

    def slow() -> Generator[Piece, None, None]:
        entered.set()
        proceed.wait(20)
        yield Piece("done")

    threads = [threading.Thread(target=lambda: list(endpoint.stream(slow, Deadline(30)))) for _ in range(2)]
    threads[0].start()
    assert entered.wait(5)
    threads[1].start()
    wait_until(lambda: endpoint.state.queued == 1)
    with pytest.raises(Overloaded) as caught:
        list(endpoint.stream(slow, Deadline(10)))
    assert caught.value.retry_after_s > 0
    proceed.set()
    for thread in threads:
        thread.join(5)
    assert (endpoint.state.in_flight, endpoint.state.queued, endpoint.state.answered) == (0, 0, 2)


def test_slot_is_freed_when_the_caller_closes_the_stream() -> None:
    endpoint = Endpoint("model", EndpointLimits(concurrency=1, queue_size=0))

    def endless() -> Generator[Piece, None, None]:
        while True:
            yield Piece("word")

    for _ in range(3):
        pieces = endpoint.stream(endless, Deadline(10))
        next(pieces)
        pieces.close()
    assert endpoint.state.in_flight == 0


def test_cancelled_request_leaves_the_queue_at_once_and_the_next_gets_the_slot() -> None:
    endpoint = Endpoint("model", EndpointLimits(concurrency=1, queue_size=2, queue_timeout_s=20))
    proceed, entered = threading.Event(), threading.Event()

    def slow() -> Generator[Piece, None, None]:
        entered.set()
        proceed.wait(20)
        yield Piece("done")

    results: dict[str, Exception | str] = {}

    def ask(name: str, deadline: Deadline) -> None:
        try:
            results[name] = "".join(piece.text for piece in endpoint.stream(slow, deadline))
        except ProviderUnavailable as error:
            results[name] = error

    deadlines = {name: Deadline(30) for name in ("first", "cancelled", "waiting")}
    threads = {name: threading.Thread(target=ask, args=(name, deadline)) for name, deadline in deadlines.items()}
    threads["first"].start()
    assert entered.wait(5)
    threads["cancelled"].start()
    threads["waiting"].start()
    wait_until(lambda: endpoint.state.queued == 2)
    deadlines["cancelled"].cancel()
    threads["cancelled"].join(10)  # it may wait 20 s in the queue
    assert isinstance(results["cancelled"], ProviderUnavailable)
    assert endpoint.state.queued == 1
    proceed.set()
    for thread in threads.values():
        thread.join(5)
    assert (results["first"], results["waiting"]) == ("done", "done")
    assert not endpoint.state.failures
