"""A provider's model as shared by all callers in the process: concurrency limit, queue, circuit breaker, retries."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Literal

from mindset.errors import Overloaded, ProviderRejected, ProviderUnavailable
from mindset.generation.protocol import Piece
from mindset.providers.circuit_breaker import CircuitBreaker, State
from mindset.providers.deadline import Deadline, RetryBudget, retry_until_first
from mindset.tracing import span


@dataclass(frozen=True)
class EndpointLimits:
    """Limits of the load on one model, and timeouts of its responses."""

    concurrency: int = 64
    queue_size: int = 64
    """Requests that may wait for a free slot. Further ones are rejected."""
    queue_timeout_s: float = 5.0
    first_token_timeout_s: float = 20.0
    inter_token_timeout_s: float = 15.0


Failure = Literal["unavailable", "rejected", "overloaded", "circuit_open"]
"""Why a model did not answer. `overloaded`: no slot was free in time; `circuit_open`: its circuit breaker was open."""


@dataclass(frozen=True)
class ProviderState:
    """The state and counters of an endpoint, for metrics."""

    name: str
    breaker: State
    in_flight: int
    queued: int
    answered: int
    failures: Mapping[Failure, int]
    retried: int


class Endpoint:
    """One model of one provider. Thread-safe."""

    def __init__(self, name: str, limits: EndpointLimits | None = None, breaker: CircuitBreaker | None = None) -> None:
        self.name, self.limits = name, limits or EndpointLimits()
        self._breaker = breaker or CircuitBreaker(name)
        self._budget = RetryBudget()
        self._slots = threading.Condition()
        self._in_flight = self._queued = self._answered = 0
        self._failures: Counter[Failure] = Counter()

    @property
    def state(self) -> ProviderState:
        """The current state."""
        return ProviderState(
            self.name, self._breaker.state, self._in_flight, self._queued, self._answered, dict(self._failures),
            self._budget.spent,
        )  # fmt: skip

    def stream(
        self, begin: Callable[[], Generator[Piece, None, None]], deadline: Deadline
    ) -> Generator[Piece, None, None]:
        """Yield the pieces of `begin()`, which is retried until its first piece if breaker and retry budget allow it.

        Raises Overloaded, ProviderRejected, ProviderUnavailable."""
        provider, _, model = self.name.partition(":")
        attributes = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": provider, "gen_ai.request.model": model}
        deadline.limit_wait(min(self.limits.first_token_timeout_s, deadline.first_token_timeout_s))
        deadline.check(self.name)
        if self._breaker.state == "open":
            self._admit()  # raises before the request is queued
        with span(f"generation.{provider}", **attributes) as traced, self._slot(deadline):
            self._admit()
            self._budget.earn()
            pieces = retry_until_first(lambda: self._recorded(begin, deadline), deadline, self._may_retry)
            try:
                with closing(pieces):
                    for piece in pieces:
                        if piece.usage:
                            traced.set_attribute("gen_ai.usage.input_tokens", piece.usage.input_tokens)
                            traced.set_attribute("gen_ai.usage.output_tokens", piece.usage.output_tokens)
                        deadline.limit_wait(self.limits.inter_token_timeout_s)
                        yield piece
            finally:
                deadline.limit_wait()  # the limit must not apply to requests to other providers

    def _recorded(
        self, begin: Callable[[], Generator[Piece, None, None]], deadline: Deadline
    ) -> Generator[Piece, None, None]:
        """Yield the pieces of `begin()` and record the outcome."""
        try:
            for piece in begin():
                self._breaker.record_success()  # at the first piece, since the stream may take long
                yield piece
        except ProviderUnavailable:
            if not deadline.cancelled:  # otherwise the caller ended the request
                self._breaker.record_failure()
                self._count_failure("unavailable")
            raise
        except ProviderRejected:
            self._breaker.record_success()  # the provider is up: it refused this request
            self._count_failure("rejected")
            raise
        with self._slots:
            self._answered += 1

    def _admit(self) -> None:
        try:
            self._breaker.admit()
        except ProviderUnavailable:
            self._count_failure("circuit_open")
            raise

    def _count_failure(self, failure: Failure) -> None:
        with self._slots:
            self._failures[failure] += 1

    def _may_retry(self) -> bool:
        return self._breaker.state == "closed" and self._budget.spend()

    @contextmanager
    def _slot(self, deadline: Deadline) -> Iterator[None]:
        """Occupy one of the `concurrency` slots. Raises Overloaded, and ProviderUnavailable once cancelled."""
        with deadline.on_cancel(self._wake_all), self._slots:
            if not self._has_free_slot:
                self._wait_for_slot(deadline)
            self._in_flight += 1
        try:
            yield
        finally:
            with self._slots:
                self._in_flight -= 1
                self._slots.notify()

    def _wait_for_slot(self, deadline: Deadline) -> None:
        """Wait for a free slot. The caller holds the condition."""
        busy = f"{self.name} is writing {self.limits.concurrency} answers, its maximum"
        if self._queued >= self.limits.queue_size:
            self._failures["overloaded"] += 1
            raise Overloaded(f"{busy}, and its queue is full. Try again shortly.")
        self._queued += 1
        try:
            timeout_s = min(self.limits.queue_timeout_s, deadline.seconds_left())
            self._slots.wait_for(lambda: self._has_free_slot or deadline.cancelled, timeout_s)
            if deadline.cancelled:
                deadline.check(self.name)
            if not self._has_free_slot:
                self._failures["overloaded"] += 1
                raise Overloaded(f"{busy}, and none was finished within {timeout_s:.1f} s. Try again shortly.")
        finally:
            self._queued -= 1
            self._slots.notify()  # this thread may have received the notification of another one

    @property
    def _has_free_slot(self) -> bool:
        return self._in_flight < self.limits.concurrency

    def _wake_all(self) -> None:
        with self._slots:
            self._slots.notify_all()
