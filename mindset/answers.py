"""From a question to an answer: every step of it, for whoever serves it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mindset.access.caller import Caller
from mindset.catalog.releases import Served
from mindset.deadline import Deadline
from mindset.generation.answers import Answer, Event, stream_answer
from mindset.guardrails.questions import checked_question
from mindset.installation import Installation
from mindset.knowledge_base import KnowledgeBase
from mindset.retrieval.search import Found


@dataclass(frozen=True)
class Asked:
    """What is asked of a knowledge base, and by whom."""

    kb: KnowledgeBase
    question: str
    caller: Caller
    limit: int | None = None
    """Most chunks that are retrieved; None: as many as the knowledge base says."""


def search(installation: Installation, asked: Asked) -> Found:
    """The passages of the live release that answer the question, of those that the caller may read.

    Raises QuestionRejected, NothingReleased, ServiceUnavailable, UnknownKnowledgeBase."""
    asked.caller.check_sees(asked.kb)
    view = installation.searcher.view(asked.kb.name, None)
    return _found(installation, asked, view)


def answer(installation: Installation, asked: Asked, deadline: Deadline | None = None) -> Iterator[Found | Event]:
    """What was found, then what is written of it as it comes, and last the whole answer, which is what counts.

    Closing the iterator ends the work. Raises what `search` does, before the first event; then ProviderRejected,
    ProviderUnavailable, Overloaded."""
    found = search(installation, asked)
    yield found
    generator = installation.generator(asked.kb)
    yield from stream_answer(generator, checked_question(asked.question), found.passages, deadline)


def whole(events: Iterator[Found | Event]) -> tuple[Found, Answer]:
    """What was found, and the answer once it is whole. Raises as `answer` does."""
    found, last = next(events), None
    for last in events:  # noqa: B007  # the last is what counts
        pass
    assert isinstance(found, Found)
    assert isinstance(last, Answer)
    return found, last


def _found(installation: Installation, asked: Asked, view: Served) -> Found:
    return installation.searcher.search(asked.kb, asked.question, asked.caller.principals, asked.limit, view=view)
