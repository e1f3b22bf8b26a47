"""A trial: one contestant in all scenarios, starting from scratch on its own stack."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.ingest import process
from benchmarks.ingest.contestant import CONTESTANTS, SCENARIOS, Scenario, Task
from benchmarks.ingest.corpus import Corpus, marker, uri
from benchmarks.ingest.stages import define
from cli.bootstrap import command
from cli.registration import PROJECT
from local_stack.addresses import Addresses
from local_stack.supervision import local_stack
from mindset.vector_index.chroma import HNSW
from mindset.vector_index.client import open_client

SHARE = 0.01
"""Fraction of the documents that change, and fraction that is deleted."""

_UNTOUCHED = 5


@dataclass(frozen=True)
class Measured:
    """The results of one scenario."""

    scenario: Scenario
    seconds: float
    ready_bytes: int
    peak_bytes: int
    chunks: int
    """Number of chunks that a search can return."""
    vectors: int
    """Number of vectors in Chroma."""
    touched: int
    """Number of documents changed or deleted."""
    left_over: int
    """Number of those whose old text a search still finds."""
    versions: dict[str, str]


def run_trial(
    contestant: str, embedder: str, corpus: Corpus, home: Path, log: Callable[[str], None]
) -> Iterator[Measured]:
    """Yield the results of each scenario when it ends, and log its start. The corpus is restored at the end.

    Raises ContestantFailed, and AssertionError if a contestant lost documents or used other HNSW settings."""
    entry = CONTESTANTS[contestant]
    state = home / "state"
    state.mkdir(parents=True)
    if not entry.peer:
        define(state, corpus.folder)
    changed, deleted = corpus.sample(SHARE, 0), corpus.sample(SHARE, 1)
    untouched = corpus.sample(SHARE, 2)[:_UNTOUCHED]
    try:
        with _stack(home, state, entry.services) as addresses:
            for scenario in SCENARIOS if entry.remembers else SCENARIOS[:1]:
                touched = _touch(corpus, scenario, changed, deleted)
                task = Task(
                    contestant=contestant,
                    embedder=embedder,
                    documents=str(corpus.folder),
                    state=str(state),
                    hnsw=HNSW,
                    look_for=[uri(number) for number in (*touched, *untouched)],
                    chroma_url=addresses.chroma_url or "",
                    postgres_url=addresses.postgres_url or "",
                    prefect_api_url=addresses.prefect_api_url or "",
                )
                log(f"{scenario} ...")
                outcome = process.run(task, home / "contestant.log")
                if entry.remembers:
                    _check_complete(contestant, outcome.texts, untouched, changed if scenario == "changed" else ())
                yield Measured(
                    scenario,
                    outcome.seconds,
                    outcome.ready_bytes,
                    outcome.peak_bytes,
                    outcome.chunks,
                    _vectors(task.chroma_url),
                    len(touched),
                    sum(_has_old_text(outcome.texts[uri(number)], number) for number in touched),
                    outcome.versions,
                )
    finally:
        corpus.write([*changed, *deleted])
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def _stack(home: Path, definitions: Path, services: Sequence[str]) -> Iterator[Addresses]:
    ours = "postgres" in services
    with local_stack(
        home / "stack",
        services=services,
        project=PROJECT,
        prepare=command() if ours else None,
        knowledge_bases=definitions if ours else None,
    ) as addresses:
        yield addresses


def _touch(corpus: Corpus, scenario: Scenario, changed: list[int], deleted: list[int]) -> list[int]:
    if scenario == "changed":
        corpus.write(changed, state=1)
        return changed
    if scenario == "deleted":
        corpus.delete(deleted)
        return deleted
    return []


def _has_old_text(texts: Sequence[str], number: int) -> bool:
    return any(marker(number, 0) in text for text in texts)


def _check_complete(
    contestant: str, texts: dict[str, list[str]], untouched: Sequence[int], changed: Sequence[int]
) -> None:
    """Assert that untouched documents and the new text of changed ones are found. An empty index has no old text either."""
    states = [(number, 0) for number in untouched] + [(number, 1) for number in changed]
    lost = [uri(number) for number, state in states if not any(marker(number, state) in t for t in texts[uri(number)])]
    assert not lost, f"{contestant} does not find {', '.join(lost[:5])}"


def _vectors(chroma_url: str) -> int:
    """Return the number of vectors on the server. Assert that all collections have the benchmark's HNSW settings."""
    collections = open_client(chroma_url).list_collections()
    for collection in collections:
        hnsw: Any = collection.configuration["hnsw"]
        assert {key: hnsw[key] for key in HNSW} == HNSW, f"{collection.name} has other settings: {hnsw}"
    return sum(collection.count() for collection in collections)
