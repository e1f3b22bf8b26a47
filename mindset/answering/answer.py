"""The use case of this product: from a query to passages, and from passages to a cited answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mindset.answering.cache import Cache
from mindset.answering.feature_flags import provider_route
from mindset.answering.query import Query
from mindset.catalog.releases import VersionSnapshot
from mindset.generation.answer_stream import Answer, Delta, Event, stream_answer
from mindset.generation.fallback import FallbackGenerator
from mindset.generation.prompt import FINGERPRINT, NOT_IN_DOCUMENTS
from mindset.generation.protocol import Usage
from mindset.generation.registry import GeneratorRegistry
from mindset.guardrails.registry import GuardrailRegistry
from mindset.guardrails.verdict import Verdict
from mindset.providers.deadline import Deadline
from mindset.retrieval.passage import Passage
from mindset.retrieval.search import Searcher
from mindset.retrieval.search_request import SearchResult
from mindset.tracing import span

if TYPE_CHECKING:
    from mindset.guardrails.bedrock import BedrockGuardrail  # importing boto3 takes half a second


@dataclass(frozen=True)
class CachedAnswer:
    """An answer together with the search result it is based on, as the cache stores them."""

    result: SearchResult
    answer: Answer


@dataclass(frozen=True)
class Answering:
    """Searches and answers queries against the live releases. Thread-safe."""

    searcher: Searcher
    generators: GeneratorRegistry
    guardrails: GuardrailRegistry
    results: Cache[SearchResult]
    answers: Cache[CachedAnswer]

    def search(self, query: Query) -> SearchResult:
        """Return the passages of the live release that answer the query and that the caller may read.

        Raises QuestionRejected, NothingReleased, ServiceUnavailable, UnknownKnowledgeBase."""
        query.caller.check_sees(query.kb)
        return self._search(query, *self._snapshot(query))

    def answer(self, query: Query, deadline: Deadline | None = None) -> Iterator[SearchResult | Event]:
        """Yield the search result, then the events of the answer as it is written; the last event is the whole `Answer`.

        Closing the iterator stops the work. Before the first event it raises what `search` raises, afterwards
        ProviderRejected, ProviderUnavailable, Overloaded."""
        query.caller.check_sees(query.kb)
        # Read the rights epoch before anything else: what is cached under it contains nothing withdrawn before it.
        snapshot, left_s = self._snapshot(query)
        generator = self.generators.generator(query.kb.generation, provider_route(query.kb.name, query.caller))
        options = (query.kb.generation.model_dump(), query.kb.guardrails.model_dump())
        key = self.answers.key(
            _cache_key_parts(query, snapshot), options, generator.name, FINGERPRINT, query.uses_judge
        )
        if cached := self.answers.get(key):
            yield from _replay(cached)
            return
        guardrail = self.guardrails.get(query.kb.guardrails)
        if guardrail and (check := guardrail.check("INPUT", query.standalone_question, deadline)).intervened:
            yield from _blocked_question(snapshot, query, Verdict("question", "blocked", check.policies))
            return
        result, violated = self._search(query, snapshot, left_s), frozenset[str]()
        if guardrail:
            result, violated = _allowed_passages(guardrail, result, deadline)
        yield result
        if violated:
            yield Verdict("passages", "blocked", tuple(sorted(violated)))
        intervened = bool(violated)
        for event in self._generate(query, result, generator, guardrail, deadline):
            intervened |= isinstance(event, Verdict)  # a replayed answer would lack the verdict, so it is not cached
            complete = isinstance(event, Answer) and not event.degraded and event.finish_reason == "stop"
            if isinstance(event, Answer) and complete and not intervened and not result.degraded:
                self.answers.put(key, CachedAnswer(result, event))
            yield event

    def _generate(
        self,
        query: Query,
        result: SearchResult,
        generator: FallbackGenerator,
        guardrail: BedrockGuardrail | None,
        deadline: Deadline | None,
    ) -> Iterator[Event]:
        """Yield the generator's events; a guardrail replaces an answer that it blocks."""
        options = query.kb.guardrails
        judge = (
            self.generators.judge(options.judge, query.kb.generation) if options.judge and query.uses_judge else None
        )
        for event in stream_answer(generator, query.standalone_question, result.passages, deadline, judge):
            if not (guardrail and isinstance(event, Answer) and event.supported):
                yield event
                continue
            check = guardrail.check("OUTPUT", event.text, deadline)
            if check.intervened:
                yield Verdict("answer", "blocked", check.policies, retract=True)
                yield replace(event, text=check.text, citations=(), supported=False, finish_reason="guardrail")
            else:
                yield event

    def _snapshot(self, query: Query) -> tuple[VersionSnapshot, float]:
        """Return what a search reads of the live release, and the seconds that are left of the search's deadline."""
        started, deadline_s = time.perf_counter(), query.kb.retrieval.deadline_s
        snapshot = self.searcher.snapshot(query.kb.name, timeout_s=deadline_s)
        return snapshot, max(deadline_s - (time.perf_counter() - started), 0.001)

    def _search(self, query: Query, snapshot: VersionSnapshot, deadline_s: float) -> SearchResult:
        started = time.perf_counter()
        key = self.results.key(_cache_key_parts(query, snapshot))
        if cached := self.results.get(key):
            milliseconds = {"total": round((time.perf_counter() - started) * 1000, 2)}
            return replace(cached, cached=True, milliseconds=milliseconds)
        with span("retrieval.search", knowledge_base=query.kb.name, version=snapshot.version):
            result = self.searcher.search(
                query.kb, query.standalone_question, query.caller.principals, query.limit,
                where=query.where, snapshot=snapshot, reranked=query.uses_reranker, deadline_s=deadline_s,
            )  # fmt: skip
        if not result.degraded:
            self.results.put(key, result)
        return result


def collect(events: Iterator[SearchResult | Event]) -> tuple[SearchResult, Answer]:
    """Return the search result and the complete answer of a stream of events. Raises what `Answering.answer` raises."""
    result, last = next(events), None
    for last in events:  # noqa: B007  # only the last event matters
        pass
    assert isinstance(result, SearchResult)
    assert isinstance(last, Answer)
    return result, last


def _replay(cached: CachedAnswer) -> Iterator[SearchResult | Event]:
    yield replace(cached.result, cached=True)
    yield Delta(cached.answer.text)
    yield from cached.answer.citations
    yield replace(cached.answer, cached=True)


def _allowed_passages(
    guardrail: BedrockGuardrail, result: SearchResult, deadline: Deadline | None
) -> tuple[SearchResult, frozenset[str]]:
    """Return the result without the passages that the guardrail blocks, and the policies that those violate."""
    allowed: list[Passage] = []
    violated: set[str] = set()
    checks = guardrail.check_all("INPUT", [passage.text for passage in result.passages], deadline)
    for passage, check in zip(result.passages, checks, strict=True):
        if check.intervened:
            violated |= {*(check.policies or ("bedrock",))}
        else:
            allowed.append(replace(passage, rank=len(allowed) + 1))  # citations refer to ranks
    return replace(result, passages=tuple(allowed)), frozenset(violated)


def _blocked_question(snapshot: VersionSnapshot, query: Query, verdict: Verdict) -> Iterator[SearchResult | Event]:
    """Yield an empty result and a refusal, without searching."""
    yield SearchResult(query.kb.name, snapshot.version, snapshot.release, (), (), {}, {})
    yield verdict
    yield Answer(NOT_IN_DOCUMENTS, (), False, "guardrail:bedrock", "guardrail", Usage())


def _cache_key_parts(query: Query, snapshot: VersionSnapshot) -> list[object]:
    """Return everything that the search result depends on, in JSON types."""
    return [
        snapshot.installation, query.kb.name, query.kb.retrieval.passages,
        snapshot.version, snapshot.release, snapshot.rights_epoch,
        query.caller.principals, query.standalone_question, query.limit, query.uses_reranker,
        query.where.model_dump() if query.where else None,
    ]  # fmt: skip
