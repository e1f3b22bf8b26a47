"""Prometheus metrics of one process."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from mindset.retrieval.search import Found

_SECONDS = (0.0025, 0.005, 0.01, 0.015, 0.025, 0.04, 0.06, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """Rate, errors and duration of requests, and what searches and answers were like."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter("mindset_requests", "Requests", ["method", "route", "status"], registry=self._registry)
        self._seconds = Histogram(
            "mindset_request_seconds",
            "Time to the end of the response",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._steps = Histogram(
            "mindset_search_step_seconds",
            "Time of a search's steps",
            ["step"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._degraded = Counter(
            "mindset_search_degraded",
            "Searches that left a step out",
            ["knowledge_base", "step"],
            registry=self._registry,
        )
        self._answers = Counter(
            "mindset_answers", "Answers", ["knowledge_base", "generator", "supported"], registry=self._registry
        )
        self._version = Gauge(
            "mindset_version_in_use", "Version that the last search used", ["knowledge_base"], registry=self._registry
        )

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Note a request; `route` is the template, not the path, so that the number of series stays small."""
        self._requests.labels(method, route, status).inc()
        self._seconds.labels(route).observe(seconds)

    def searched(self, found: Found) -> None:
        """Note a search."""
        for step, milliseconds in found.milliseconds.items():
            self._steps.labels(step).observe(milliseconds / 1000)
        for step in found.degraded:
            self._degraded.labels(found.kb, step).inc()
        self._version.labels(found.kb).set(found.version)

    def answered(self, kb: str, generator: str, supported: bool) -> None:
        """Note an answer."""
        self._answers.labels(kb, generator, str(supported).lower()).inc()

    def exposition(self) -> bytes:
        """Everything in Prometheus's text format."""
        return generate_latest(self._registry)
