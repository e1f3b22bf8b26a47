"""From a question to an answer: every step of it, for whoever serves it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from mindset.access.caller import Caller
from mindset.catalog.filters import Filter
from mindset.catalog.releases import Served
from mindset.deadline import Deadline
from mindset.flags import judges, provider_route, reranks
from mindset.generation.answers import Answer, Delta, Event, stream_answer
from mindset.generation.conversation import condensed
from mindset.generation.prompt import FINGERPRINT, NOT_IN_DOCUMENTS
from mindset.generation.protocol import Usage
from mindset.guardrails.questions import checked_question
from mindset.guardrails.verdict import Verdict
from mindset.installation import Answered, Installation
from mindset.knowledge_base import KnowledgeBase
from mindset.retrieval.passage import Passage
from mindset.retrieval.search import Found
from mindset.tracing import span

if TYPE_CHECKING:
    from mindset.guardrails.bedrock import BedrockGuardrail


@dataclass(frozen=True)
class Asked:
    """What is asked of a knowledge base, and by whom."""

    kb: KnowledgeBase
    question: str
    caller: Caller
    limit: int | None = None
    """Most chunks that are retrieved; None: as many as the knowledge base says."""
    where: Filter | None = None
    """Of which documents; None: of all."""
    before: tuple[str, ...] = ()
    """What was asked before in the same conversation, the newest last."""

    @cached_property
    def standalone(self) -> str:
        """The question as it is searched for and answered: with what its conversation is about. Raises QuestionRejected."""
        return condensed(checked_question(self.question), self.before)

    @cached_property
    def reranked(self) -> bool:
        """Whether the knowledge base's reranker is asked."""
        return self.kb.retrieval.rerank is not None and reranks(self.kb.name, self.caller)

    @cached_property
    def judged(self) -> bool:
        """Whether the knowledge base's judge is asked."""
        return self.kb.guardrails.judge is not None and judges(self.kb.name, self.caller)


def search(installation: Installation, asked: Asked) -> Found:
    """The passages of the live release that answer the question, of those that the caller may read.

    Raises QuestionRejected, NothingReleased, ServiceUnavailable, UnknownKnowledgeBase."""
    asked.caller.check_sees(asked.kb)
    return _search(installation, asked, installation.searcher.view(asked.kb.name, None))


def answer(installation: Installation, asked: Asked, deadline: Deadline | None = None) -> Iterator[Found | Event]:
    """What was found, then what is written of it as it comes, and last the whole answer, which is what counts.

    Closing the iterator ends the work. Raises what `search` does, before the first event; then ProviderRejected,
    ProviderUnavailable, Overloaded."""
    asked.caller.check_sees(asked.kb)
    # Read before anything is looked up: what is kept under this epoch shows nothing that was withdrawn before it.
    view = installation.searcher.view(asked.kb.name, None)
    generator = installation.generator(asked.kb, provider_route(asked.kb.name, asked.caller))
    cache = installation.answered
    settings = (asked.kb.generation.model_dump(), asked.kb.guardrails.model_dump())
    key = cache.key(_depends_on(asked, view), settings, generator.name, FINGERPRINT, asked.judged)
    if before := cache.get(key):
        yield replace(before.found, cached=True)
        yield Delta(before.answer.text)
        yield from before.answer.citations
        yield replace(before.answer, cached=True)
        return
    guardrail = installation.guardrail(asked.kb)
    if guardrail and (ruling := guardrail.check("INPUT", asked.standalone, deadline)).intervened:
        yield from _refused(view, asked, Verdict("question", "blocked", ruling.policies))
        return
    found = _search(installation, asked, view)
    broken: set[str] = set()
    if guardrail:
        found, broken = _passed(guardrail, found, deadline)
    yield found
    if broken:
        yield Verdict("passages", "blocked", tuple(sorted(broken)))
    ruled = bool(broken)
    judge = installation.judge(asked.kb) if asked.judged else None
    for done in stream_answer(generator, asked.standalone, found.passages, deadline, judge):
        if not isinstance(done, Answer):
            ruled |= isinstance(done, Verdict)  # which would have to be told again
            yield done
            continue
        if guardrail and done.supported and (ruling := guardrail.check("OUTPUT", done.text, deadline)).intervened:
            yield Verdict("answer", "blocked", ruling.policies, retract=True)
            done = replace(  # noqa: PLW2901
                done, text=ruling.text, citations=(), supported=False, finish_reason="guardrail"
            )
        if not (ruled or found.degraded or done.degraded) and done.finish_reason == "stop":
            cache.put(key, Answered(found, done))
        yield done


def _passed(guardrail: BedrockGuardrail, found: Found, deadline: Deadline | None) -> tuple[Found, set[str]]:
    """What was found without the passages that the guardrail blocks, and the policies that these broke."""
    passed: list[Passage] = []
    broken: set[str] = set()
    rulings = guardrail.check_all("INPUT", [each.text for each in found.passages], deadline)
    for each, ruling in zip(found.passages, rulings, strict=True):
        if ruling.intervened:
            broken |= {*(ruling.policies or ("bedrock",))}
        else:
            passed.append(replace(each, rank=len(passed) + 1))  # which citations count
    return replace(found, passages=tuple(passed)), broken


def _refused(view: Served, asked: Asked, verdict: Verdict) -> Iterator[Found | Event]:
    """Nothing is looked for where the guardrail does not let the question pass."""
    yield Found(asked.kb.name, view.version, view.release, (), (), {}, {})
    yield verdict
    yield Answer(NOT_IN_DOCUMENTS, (), False, "guardrail:bedrock", "guardrail", Usage())


def _search(installation: Installation, asked: Asked, view: Served) -> Found:
    started = time.perf_counter()
    cache = installation.found
    key = cache.key(_depends_on(asked, view))
    if before := cache.get(key):
        milliseconds = {"total": round((time.perf_counter() - started) * 1000, 2)}
        return replace(before, cached=True, milliseconds=milliseconds)
    with span("retrieval.search", knowledge_base=asked.kb.name, version=view.version):
        found = installation.searcher.search(
            asked.kb, asked.standalone, asked.caller.principals, asked.limit,
            where=asked.where, view=view, rerank=asked.reranked,
        )  # fmt: skip
    if not found.degraded:
        cache.put(key, found)
    return found


def _depends_on(asked: Asked, view: Served) -> list[object]:
    """Everything that decides what is found, in JSON's types."""
    return [
        asked.kb.name, asked.kb.retrieval.model_dump(), asked.kb.chunking.language, view.version, view.release, view.epoch,
        asked.caller.principals, asked.standalone, asked.limit, asked.reranked,
        asked.where.model_dump() if asked.where else None,
    ]  # fmt: skip


def whole(events: Iterator[Found | Event]) -> tuple[Found, Answer]:
    """What was found, and the answer once it is whole. Raises as `answer` does."""
    found, last = next(events), None
    for last in events:  # noqa: B007  # the last is what counts
        pass
    assert isinstance(found, Found)
    assert isinstance(last, Answer)
    return found, last
