"""Questions asked all the time, and a check of their history against that of the releases."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from types import TracebackType
from typing import Self

from mindset.catalog.connection import rows
from mindset.catalog.documents import take_down
from mindset.errors import ServiceUnavailable
from mindset.installation import Installation
from mindset.retrieval.search import Found

# A release ends when its successor's transaction commits, a moment after the one that the row holds.
COMMIT_S = 0.5


@dataclass(frozen=True)
class Answer:
    """What was answered, by which version, to a question asked and answered at these times."""

    asked: float
    answered: float
    version: int
    passages: tuple[tuple[tuple[str, str], ...], ...]
    """For each passage, URI and chunk of everything that it shows."""

    degraded: bool = False


@dataclass(frozen=True)
class Live:
    """A version, and when it was live."""

    version: int
    since: float
    until: float | None


@dataclass(frozen=True)
class History:
    """What really was: releases in order, take-downs by URI, and what each version that is not retired shows."""

    releases: Sequence[Live]
    taken_down: Mapping[str, float]
    shown: Mapping[int, set[tuple[str, str]]]


def contradictions(history: History, answers: Sequence[Answer]) -> Iterator[str]:
    """Everything in which answers and history, or history and itself, do not agree."""
    for before, after in pairwise(history.releases):
        if before.until != after.since:
            yield f"version {before.version} was live until {before.until}, {after.version} since {after.since}"
    if [each.until for each in history.releases[-1:]] != [None]:
        yield "no version is live"
    for answer in answers:
        yield from _of_answer(history, answer)


def _of_answer(history: History, answer: Answer) -> Iterator[str]:
    if not any(
        each.version == answer.version
        and each.since <= answer.answered
        and (each.until is None or each.until + COMMIT_S >= answer.asked)
        for each in history.releases
    ):
        yield f"version {answer.version} was not live between {answer.asked} and {answer.answered}"
    chunks = [{chunk for _, chunk in passage} for passage in answer.passages]
    if sum(map(len, chunks)) > len(set().union(*chunks)):
        yield f"an answer of version {answer.version} shows a passage twice"
    if not answer.passages and not answer.degraded:
        yield f"an answer of version {answer.version} has no passages"
    pairs = {pair for passage in answer.passages for pair in passage}
    for uri, _ in pairs:
        if history.taken_down.get(uri, answer.asked) < answer.asked:
            yield f"{uri} was shown after it was taken down"
    if answer.version in history.shown and (strange := pairs - history.shown[answer.version]):
        yield f"version {answer.version} does not show {sorted(strange)}"


@dataclass
class Asker:
    """Asks in a thread; while servers are down it may be refused, with the error made for that and no other."""

    installation: Installation
    kb: str
    questions: Sequence[str]
    asked: int = 0
    refused: int = 0
    degraded: int = 0
    wrong: list[BaseException] = field(default_factory=list)
    _answers: list[Answer] = field(default_factory=list)
    _taken_down: dict[str, float] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(30)

    def take_down(self, uri: str) -> None:
        """Take a document down, and let no later answer show it."""
        with self.installation.catalog.writing() as connection:
            take_down(connection, self.kb, uri, "a test")
        self._taken_down.setdefault(uri, time.time())

    def check(self) -> None:
        """Assert that the answers since the last check agree with what was live, placed and taken down."""
        assert self.wrong == []
        answers, self._answers = self._answers, []
        found = list(contradictions(self._history(), answers))
        assert found == []

    def _history(self) -> History:
        with self.installation.catalog.reading() as connection:
            releases = rows(
                connection,
                """SELECT version, since, until FROM release WHERE kb = %(kb)s AND channel = 'live' ORDER BY id""",
                kb=self.kb,
            )
            shown = rows(
                connection,
                """SELECT v.number, p.uri, p.chunk FROM version v JOIN placement p
                     ON p.kb = v.kb AND p.since <= v.number AND (p.until IS NULL OR p.until > v.number)
                   WHERE v.kb = %(kb)s AND v.state IN ('ready', 'rejected')""",
                kb=self.kb,
            )
        by_version: dict[int, set[tuple[str, str]]] = {}
        for number, uri, chunk in shown:
            by_version.setdefault(number, set()).add((uri, chunk))
        lives = [Live(version, since.timestamp(), until and until.timestamp()) for version, since, until in releases]
        return History(lives, dict(self._taken_down), by_version)

    def _ask(self) -> None:
        definition = self.installation.knowledge_base(self.kb)
        while not self._over.wait(0.04):
            question = self.questions[self.asked % len(self.questions)]
            self.asked += 1
            asked = time.time()
            try:
                found = self.installation.searcher.search(definition, question, [])
            except ServiceUnavailable:
                self.refused += 1
            except Exception as wrong:  # noqa: BLE001  # whatever else comes is what this test looks for
                self.wrong.append(wrong)
            else:
                self.degraded += bool(found.degraded)
                self._answers.append(Answer(asked, time.time(), found.version, _shown(found), bool(found.degraded)))


def _shown(found: Found) -> tuple[tuple[tuple[str, str], ...], ...]:
    """A passage is one chunk with all its places, or several chunks with the one place that they share."""
    return tuple(
        tuple((place.uri, chunk) for place in passage.places for chunk in passage.chunk_ids)
        for passage in found.passages
    )
