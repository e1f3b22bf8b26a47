"""Ask questions continuously, and check the answers against the history of the releases."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from types import TracebackType
from typing import Self

from mindset.application import Installation
from mindset.catalog.documents import take_down
from mindset.catalog.transactions import rows
from mindset.errors import ServiceUnavailable
from mindset.retrieval.search_request import SearchResult

# A release ends when its successor's transaction commits, which is slightly later than the time in the row.
COMMIT_S = 0.5


@dataclass(frozen=True)
class Answer:
    """An answer: when it was asked for and received, and from which version."""

    asked: float
    answered: float
    version: int
    passages: tuple[tuple[tuple[str, str], ...], ...]
    """For each passage, URI and chunk of each of its parts."""

    degraded: bool = False


@dataclass(frozen=True)
class Live:
    """A period in which a version was live."""

    version: int
    since: float
    until: float | None


@dataclass(frozen=True)
class History:
    """The actual history: releases in order, take-downs by URI, and (URI, chunk) of each version that is not retired."""

    releases: Sequence[Live]
    taken_down: Mapping[str, float]
    shown: Mapping[int, set[tuple[str, str]]]


def contradictions(history: History, answers: Sequence[Answer]) -> Iterator[str]:
    """Yield each contradiction between answers and history, or within the history."""
    for before, after in pairwise(history.releases):
        if before.until != after.since:
            yield f"version {before.version} was live until {before.until}, {after.version} since {after.since}"
    if [release.until for release in history.releases[-1:]] != [None]:
        yield "no version is live"
    for answer in answers:
        yield from _of_answer(history, answer)


def _of_answer(history: History, answer: Answer) -> Iterator[str]:
    if not any(
        release.version == answer.version
        and release.since <= answer.answered
        and (release.until is None or release.until + COMMIT_S >= answer.asked)
        for release in history.releases
    ):
        yield f"version {answer.version} was not live between {answer.asked} and {answer.answered}"
    chunks = [{chunk for _, chunk in passage} for passage in answer.passages]
    if sum(map(len, chunks)) > len(set().union(*chunks)):
        yield f"an answer of version {answer.version} contains a passage twice"
    if not answer.passages and not answer.degraded:
        yield f"an answer of version {answer.version} has no passages"
    pairs = {pair for passage in answer.passages for pair in passage}
    for uri, _ in pairs:
        if history.taken_down.get(uri, answer.asked) < answer.asked:
            yield f"{uri} was returned after it was taken down"
    if answer.version in history.shown and (foreign := pairs - history.shown[answer.version]):
        yield f"version {answer.version} does not contain {sorted(foreign)}"


@dataclass
class QuestionLoad:
    """Asks questions in a thread. ServiceUnavailable is counted in `refused`; any other error is collected in `wrong`."""

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
        """Take a document down. `check` fails if a later answer contains it."""
        with self.installation.catalog.writing() as connection:
            take_down(connection, self.kb, uri, "a test")
        self._taken_down.setdefault(uri, time.time())

    def check(self) -> None:
        """Assert that the answers since the last check agree with the releases, placements and take-downs."""
        assert self.wrong == []
        answers, self._answers = self._answers, []
        assert list(contradictions(self._history(), answers)) == []

    def _history(self) -> History:
        with self.installation.catalog.reading() as connection:
            releases = rows(
                connection,
                """SELECT version, released_at, replaced_at FROM release WHERE kb = %(kb)s AND channel = 'live' ORDER BY id""",
                kb=self.kb,
            )
            placements = rows(
                connection,
                """SELECT v.number, p.uri, p.chunk_id FROM version v JOIN placement p
                     ON p.kb = v.kb AND p.valid_from <= v.number AND (p.valid_to IS NULL OR p.valid_to > v.number)
                   WHERE v.kb = %(kb)s AND v.state IN ('ready', 'rejected')""",
                kb=self.kb,
            )
        by_version: dict[int, set[tuple[str, str]]] = {}
        for number, uri, chunk in placements:
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
                result = self.installation.searcher.search(definition, question, [])
            except ServiceUnavailable:
                self.refused += 1
            except Exception as wrong:  # noqa: BLE001  # the test fails on any other error
                self.wrong.append(wrong)
            else:
                self.degraded += bool(result.degraded)
                self._answers.append(Answer(asked, time.time(), result.version, _shown(result), bool(result.degraded)))


def _shown(result: SearchResult) -> tuple[tuple[tuple[str, str], ...], ...]:
    """Return (URI, chunk) pairs per passage: one chunk with all its locations, or several chunks with one location."""
    return tuple(
        tuple((place.uri, chunk) for place in passage.places for chunk in passage.chunk_ids)
        for passage in result.passages
    )
