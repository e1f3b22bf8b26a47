"""Prometheus metrics of one process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from mindset.generation.answers import Answer
from mindset.generation.endpoint import ProviderState
from mindset.generation.protocol import Usage
from mindset.guardrails.verdict import Verdict
from mindset.retrieval.search import Found

_SECONDS = (0.0025, 0.005, 0.01, 0.015, 0.025, 0.04, 0.06, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_BREAKER = {"closed": 0, "half-open": 1, "open": 2}


@dataclass(frozen=True)
class Pace:
    """Seconds from the question to what was found, to the first text, if any came, and to the end of the answer."""

    found_s: float
    spoken_s: float | None
    whole_s: float


class Metrics:
    """Rate, errors and duration of requests, and what searches and answers were like.

    `prices` are dollars for a million tokens in and out, by generator."""

    def __init__(self, prices: Mapping[str, tuple[float, float]] | None = None) -> None:
        self._prices = prices or {}
        self._registry = CollectorRegistry()
        self._requests = self._counter("requests", "Requests", "method", "route", "status")
        self._seconds = self._histogram("request_seconds", "Time to the end of the response", "route")
        self._steps = self._histogram("search_step_seconds", "Time of a search's steps", "step")
        self._degraded = self._counter(
            "degraded", "Searches and answers that left a step out", "knowledge_base", "step"
        )
        self._answers = self._counter("answers", "Answers", "knowledge_base", "generator", "supported")
        self._answer_seconds = self._histogram(
            "answer_seconds", "From the question to the end of the answer", "generator", "cached"
        )
        self._first = self._histogram(
            "first_token_seconds", "From the passages to the first of an answer's text", "generator"
        )
        self._generation_seconds = self._histogram(
            "generation_seconds", "From the passages to the end of the answer", "generator"
        )
        self._tokens = self._counter("tokens", "Tokens, as providers count them", "generator", "direction")
        self._dollars = self._counter("cost_dollars", "What tokens cost, by MINDSET_PRICES", "generator")
        self._cached = self._counter("cache", "Searches and answers, by what the cache said", "kind", "outcome")
        self._verdicts = self._counter("guardrail_verdicts", "What guardrails found", "stage", "action", "rule")
        self._refused = self._counter("refused", "Requests that were not let in, or told to come back", "why")
        self._version = Gauge(
            "mindset_version_in_use", "Version that the last search used", ["knowledge_base"], registry=self._registry
        )
        self._release = Gauge(
            "mindset_release_in_use", "Release that the last search used", ["knowledge_base"], registry=self._registry
        )

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Note a request; `route` is the template, not the path, so that the number of series stays small."""
        self._requests.labels(method, route, status).inc()
        self._seconds.labels(route).observe(seconds)
        if why := {401: "not authenticated", 403: "not allowed", 429: "rate limited"}.get(status):
            self._refused.labels(why).inc()

    def searched(self, found: Found) -> None:
        """Note a search."""
        self._cached.labels("search", "hit" if found.cached else "miss").inc()
        if not found.cached:
            for step, milliseconds in found.milliseconds.items():
                self._steps.labels(step).observe(milliseconds / 1000)
        for step in found.degraded:
            self._degraded.labels(found.kb, step).inc()
        self._version.labels(found.kb).set(found.version)
        if found.release is not None:
            self._release.labels(found.kb).set(found.release)

    def answered(self, kb: str, answer: Answer, pace: Pace) -> None:
        """Note an answer, and how long it took."""
        self._answers.labels(kb, answer.generator, str(answer.supported).lower()).inc()
        self._answer_seconds.labels(answer.generator, str(answer.cached).lower()).observe(pace.whole_s)
        self._cached.labels("answer", "hit" if answer.cached else "miss").inc()
        for step in answer.degraded:
            self._degraded.labels(kb, step).inc()
        if not answer.cached:
            self._generation_seconds.labels(answer.generator).observe(pace.whole_s - pace.found_s)
            if pace.spoken_s is not None:
                self._first.labels(answer.generator).observe(pace.spoken_s - pace.found_s)
            self._spent(answer.generator, answer.usage)
            if judgement := answer.judgement:
                self._spent(judgement.judge, judgement.usage)

    def _spent(self, model: str, usage: Usage) -> None:
        self._tokens.labels(model, "input").inc(usage.input_tokens)
        self._tokens.labels(model, "output").inc(usage.output_tokens)
        if price := self._prices.get(model):
            self._dollars.labels(model).inc((usage.input_tokens * price[0] + usage.output_tokens * price[1]) / 1e6)

    def judged(self, verdict: Verdict) -> None:
        """Note what a guardrail found."""
        for rule in verdict.reasons:
            self._verdicts.labels(verdict.stage, verdict.action, rule).inc()

    def watch(
        self, open_streams: Callable[[], int], lost: Callable[[], int], states: Callable[[], Iterable[ProviderState]]
    ) -> None:
        """What is asked for at each scrape: answers in the making, answers not logged, and providers."""
        self._registry.register(_Watched(open_streams, lost, states))

    def exposition(self) -> bytes:
        """Everything in Prometheus's text format."""
        return generate_latest(self._registry)

    def _counter(self, name: str, description: str, *labels: str) -> Counter:
        return Counter(f"mindset_{name}", description, labels, registry=self._registry)

    def _histogram(self, name: str, description: str, *labels: str) -> Histogram:
        return Histogram(f"mindset_{name}", description, labels, buckets=_SECONDS, registry=self._registry)


class _Watched(Collector):
    def __init__(
        self, open_streams: Callable[[], int], lost: Callable[[], int], states: Callable[[], Iterable[ProviderState]]
    ) -> None:
        self._open_streams, self._lost, self._states = open_streams, lost, states

    def collect(self) -> Iterator[Any]:
        yield GaugeMetricFamily("mindset_open_streams", "Answers in the making", value=self._open_streams())
        yield CounterMetricFamily(
            "mindset_answers_not_logged", "Answers that the log could not keep", value=self._lost()
        )
        states = list(self._states())
        for name, description, value in (
            ("breaker_state", "0 closed, 1 half-open, 2 open", lambda each: _BREAKER[each.breaker]),
            ("provider_in_flight", "Answers asked of a model now", lambda each: each.in_flight),
            ("provider_queued", "Answers that wait for a place at a model", lambda each: each.queued),
        ):
            gauge = GaugeMetricFamily(f"mindset_{name}", description, labels=["provider"])
            for each in states:
                gauge.add_metric([each.name], value(each))
            yield gauge
        failures = CounterMetricFamily(
            "mindset_provider_failures", "Times that a model did not answer", labels=["provider", "kind"]
        )
        retries = CounterMetricFamily("mindset_provider_retries", "Requests that were tried again", labels=["provider"])
        for each in states:
            retries.add_metric([each.name], each.retried)
            for kind, times in each.failures.items():
                failures.add_metric([each.name, kind], times)
        yield from (failures, retries)
