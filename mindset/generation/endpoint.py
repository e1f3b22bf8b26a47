"""A model of a provider as all of this process share it: how many ask at a time, who waits, who is tried again."""

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
    """What one model may be burdened with, and how long it is waited for."""

    concurrency: int = 64
    queue_size: int = 64
    """How many wait for a place, beyond which a request is told to come back."""
    queue_timeout_s: float = 5.0
    first_token_timeout_s: float = 20.0
    inter_token_timeout_s: float = 15.0


Failure = Literal["unavailable", "rejected", "overloaded", "circuit_open"]
"""Why a model did not answer. `circuit_open`: its breaker was open; `overloaded`: it had as many to answer as it may."""


@dataclass(frozen=True)
class ProviderState:
    """What there is to see of a model, for metrics."""

    name: str
    breaker: State
    in_flight: int
    queued: int
    answered: int
    failures: Mapping[Failure, int]
    retried: int


class Endpoint:
    """Thread-safe."""

    def __init__(self, name: str, limits: EndpointLimits | None = None, breaker: CircuitBreaker | None = None) -> None:
        self.name, self.limits = name, limits or EndpointLimits()
        self._breaker = breaker or CircuitBreaker(name)
        self._budget = RetryBudget()
        self._places = threading.Condition()
        self._in_flight = self._queued = self._answered = 0
        self._failures: Counter[Failure] = Counter()

    @property
    def state(self) -> ProviderState:
        """As it is now."""
        return ProviderState(
            self.name, self._breaker.state, self._in_flight, self._queued, self._answered, dict(self._failures),
            self._budget.spent,
        )  # fmt: skip

    def stream(
        self, begin: Callable[[], Generator[Piece, None, None]], deadline: Deadline
    ) -> Generator[Piece, None, None]:
        """What `begin()` yields; it is begun again while it has said nothing, the breaker is closed and the budget lasts.

        Raises Overloaded, ProviderRejected, ProviderUnavailable."""
        provider, _, model = self.name.partition(":")
        attributes = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": provider, "gen_ai.request.model": model}
        deadline.limit_wait(min(self.limits.first_token_timeout_s, deadline.first_token_timeout_s))
        deadline.check(self.name)
        if self._breaker.state == "open":
            self._admit()  # raises at once, instead of in the queue
        with span(f"generation.{provider}", **attributes) as traced, self._place(deadline):
            self._admit()
            self._budget.earn()
            pieces = retry_until_first(lambda: self._watched(begin, deadline), deadline, self._may_retry)
            try:
                with closing(pieces):
                    for piece in pieces:
                        if piece.usage:
                            traced.set_attribute("gen_ai.usage.input_tokens", piece.usage.input_tokens)
                            traced.set_attribute("gen_ai.usage.output_tokens", piece.usage.output_tokens)
                        deadline.limit_wait(self.limits.inter_token_timeout_s)
                        yield piece
            finally:
                deadline.limit_wait()  # also of one that was silent: who is asked next has time of its own

    def _watched(
        self, begin: Callable[[], Generator[Piece, None, None]], deadline: Deadline
    ) -> Generator[Piece, None, None]:
        try:
            for piece in begin():
                self._breaker.record_success()  # whoever speaks is well, however long it goes on
                yield piece
        except ProviderUnavailable:
            if not deadline.cancelled:  # that the reader has gone is not the model's fault
                self._breaker.record_failure()
                self._failed("unavailable")
            raise
        except ProviderRejected:
            self._breaker.record_success()  # it is there, and says no
            self._failed("rejected")
            raise
        with self._places:
            self._answered += 1

    def _admit(self) -> None:
        try:
            self._breaker.admit()
        except ProviderUnavailable:
            self._failed("circuit_open")
            raise

    def _failed(self, why: Failure) -> None:
        with self._places:
            self._failures[why] += 1

    def _may_retry(self) -> bool:
        return self._breaker.state == "closed" and self._budget.spend()

    @contextmanager
    def _place(self, deadline: Deadline) -> Iterator[None]:
        with deadline.on_cancel(self._wake), self._places:
            if not self._has_place:
                self._wait(deadline)
            self._in_flight += 1
        try:
            yield
        finally:
            with self._places:
                self._in_flight -= 1
                self._places.notify()

    def _wait(self, deadline: Deadline) -> None:
        """Wait for a place, holding the condition. Raises Overloaded, and ProviderUnavailable once cancelled."""
        full = f"{self.name} has {self.limits.concurrency} answers in the making"
        if self._queued >= self.limits.queue_size:
            self._failures["overloaded"] += 1
            raise Overloaded(f"{full}, and as many wait as may. Try again shortly.")
        self._queued += 1
        try:
            patience = min(self.limits.queue_timeout_s, deadline.seconds_left())
            self._places.wait_for(lambda: self._has_place or deadline.cancelled, patience)
            if deadline.cancelled:
                deadline.check(self.name)
            if not self._has_place:
                self._failures["overloaded"] += 1
                raise Overloaded(f"{full}, and none was over within {patience:.1f} s. Try again shortly.")
        finally:
            self._queued -= 1
            self._places.notify()  # who leaves may have been woken in another's stead

    @property
    def _has_place(self) -> bool:
        return self._in_flight < self.limits.concurrency

    def _wake(self) -> None:
        with self._places:
            self._places.notify_all()
