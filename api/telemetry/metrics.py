"""Prometheus metrics of one process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from mindset.generation.answer_stream import Answer
from mindset.generation.endpoint import ProviderState
from mindset.generation.protocol import Usage
from mindset.guardrails.verdict import Verdict
from mindset.retrieval.search_request import SearchResult

_SECONDS = (0.0025, 0.005, 0.01, 0.015, 0.025, 0.04, 0.06, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_BREAKER_STATES = {"closed": 0, "half-open": 1, "open": 2}


@dataclass(frozen=True)
class AnswerTimings:
    """Seconds from the question to the search result, to the first text (None if there was none), and to the end."""

    search_s: float
    first_text_s: float | None
    total_s: float


class Metrics:
    """Rate, errors and duration of requests, searches and answers.

    `prices` are US dollars per million input and output tokens, by generator."""

    def __init__(self, prices: Mapping[str, tuple[float, float]] | None = None) -> None:
        self._prices = prices or {}
        self._registry = CollectorRegistry()
        self._requests = self._counter("requests", "Requests", "method", "route", "status")
        self._seconds = self._histogram("request_seconds", "Time to the end of the response", "route")
        self._steps = self._histogram("search_step_seconds", "Duration of search steps", "step")
        self._degraded = self._counter(
            "degraded", "Searches and answers that left a step out", "knowledge_base", "step"
        )
        self._answers = self._counter("answers", "Answers", "knowledge_base", "generator", "supported")
        self._answer_seconds = self._histogram(
            "answer_seconds", "From the question to the end of the answer", "generator", "cached"
        )
        self._first = self._histogram(
            "first_token_seconds", "From the search result to the first text of the answer", "generator"
        )
        self._generation_seconds = self._histogram(
            "generation_seconds", "From the search result to the end of the answer", "generator"
        )
        self._tokens = self._counter("tokens", "Tokens as reported by providers", "generator", "direction")
        self._cost = self._counter("cost_usd", "Cost of tokens in US dollars, by MINDSET_PRICES", "generator")
        self._cached = self._counter("cache", "Cache lookups of searches and answers", "kind", "outcome")
        self._verdicts = self._counter("guardrail_verdicts", "Findings of guardrails", "stage", "action", "rule")
        self._rejected = self._counter("rejected", "Requests rejected before they were handled", "reason")
        self._version = Gauge(
            "mindset_searched_version", "Version that the last search used", ["knowledge_base"], registry=self._registry
        )
        self._release = Gauge(
            "mindset_searched_release", "Release that the last search used", ["knowledge_base"], registry=self._registry
        )

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request. `route` is the template, not the path, so that the number of series stays small."""
        self._requests.labels(method, route, status).inc()
        self._seconds.labels(route).observe(seconds)
        if reason := {401: "not authenticated", 403: "not allowed", 429: "rate limited"}.get(status):
            self._rejected.labels(reason).inc()

    def searched(self, result: SearchResult) -> None:
        """Count a search."""
        self._cached.labels("search", "hit" if result.cached else "miss").inc()
        if not result.cached:
            for step, milliseconds in result.milliseconds.items():
                self._steps.labels(step).observe(milliseconds / 1000)
        for step in result.degraded:
            self._degraded.labels(result.kb, step).inc()
        self._version.labels(result.kb).set(result.version)
        if result.release is not None:
            self._release.labels(result.kb).set(result.release)

    def answered(self, kb: str, answer: Answer, timings: AnswerTimings) -> None:
        """Count an answer and its timings."""
        self._answers.labels(kb, answer.generator, str(answer.supported).lower()).inc()
        self._answer_seconds.labels(answer.generator, str(answer.cached).lower()).observe(timings.total_s)
        self._cached.labels("answer", "hit" if answer.cached else "miss").inc()
        for step in answer.degraded:
            self._degraded.labels(kb, step).inc()
        if not answer.cached:
            self._generation_seconds.labels(answer.generator).observe(timings.total_s - timings.search_s)
            if timings.first_text_s is not None:
                self._first.labels(answer.generator).observe(timings.first_text_s - timings.search_s)
            self._count_tokens(answer.generator, answer.usage)
            if judgement := answer.judgement:
                self._count_tokens(judgement.judge, judgement.usage)

    def _count_tokens(self, model: str, usage: Usage) -> None:
        self._tokens.labels(model, "input").inc(usage.input_tokens)
        self._tokens.labels(model, "output").inc(usage.output_tokens)
        if price := self._prices.get(model):
            self._cost.labels(model).inc((usage.input_tokens * price[0] + usage.output_tokens * price[1]) / 1e6)

    def judged(self, verdict: Verdict) -> None:
        """Count the broken rules of a guardrail's verdict."""
        for rule in verdict.reasons:
            self._verdicts.labels(verdict.stage, verdict.action, rule).inc()

    def watch(
        self, in_progress: Callable[[], int], dropped: Callable[[], int], states: Callable[[], Iterable[ProviderState]]
    ) -> None:
        """Report, at each scrape, the answers in progress, the answers dropped by the log, and the state of providers."""
        self._registry.register(_ScrapedMetrics(in_progress, dropped, states))

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def _counter(self, name: str, description: str, *labels: str) -> Counter:
        return Counter(f"mindset_{name}", description, labels, registry=self._registry)

    def _histogram(self, name: str, description: str, *labels: str) -> Histogram:
        return Histogram(f"mindset_{name}", description, labels, buckets=_SECONDS, registry=self._registry)


class _ScrapedMetrics(Collector):
    def __init__(
        self, in_progress: Callable[[], int], dropped: Callable[[], int], states: Callable[[], Iterable[ProviderState]]
    ) -> None:
        self._in_progress, self._dropped, self._states = in_progress, dropped, states

    def collect(self) -> Iterator[Any]:
        yield GaugeMetricFamily("mindset_answers_in_progress", "Answers in progress", value=self._in_progress())
        yield CounterMetricFamily(
            "mindset_answer_log_dropped", "Answers that could not be logged", value=self._dropped()
        )
        states = list(self._states())
        for name, description, value in (
            ("circuit_breaker_state", "0 closed, 1 half-open, 2 open", lambda state: _BREAKER_STATES[state.breaker]),
            ("provider_in_flight", "Requests to a model in flight", lambda state: state.in_flight),
            ("provider_queued", "Requests waiting for a slot at a model", lambda state: state.queued),
        ):
            gauge = GaugeMetricFamily(f"mindset_{name}", description, labels=["provider"])
            for state in states:
                gauge.add_metric([state.name], value(state))
            yield gauge
        failures = CounterMetricFamily(
            "mindset_provider_failures", "Failed requests to a model", labels=["provider", "kind"]
        )
        retries = CounterMetricFamily("mindset_provider_retries", "Retried requests to a model", labels=["provider"])
        for state in states:
            retries.add_metric([state.name], state.retried)
            for kind, count in state.failures.items():
                failures.add_metric([state.name, kind], count)
        yield from (failures, retries)
