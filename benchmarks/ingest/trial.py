"""A trial: one contestant through all scenarios, on a stack of its own, from nothing."""

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
from cli.prepare import PROJECT, command
from mindset.index.chroma import HNSW
from mindset.index.client import open_client
from mindset.local.addresses import Addresses
from mindset.local.supervision import local_stack

SHARE = 0.01
"""How many of the documents change, and how many are deleted."""

_KEPT = 5


@dataclass(frozen=True)
class Measured:
    """One scenario of a trial."""

    scenario: Scenario
    seconds: float
    ready_bytes: int
    peak_bytes: int
    chunks: int
    """How many a search can return."""
    vectors: int
    """How many Chroma holds."""
    touched: int
    """How many documents were changed or deleted."""
    left_over: int
    """Of those, how many a search still finds as they were."""
    versions: dict[str, str]


def run_trial(
    contestant: str, embedder: str, corpus: Corpus, home: Path, say: Callable[[str], None]
) -> Iterator[Measured]:
    """Each scenario as it is over; says which one begins. The corpus is left as it was found.

    Raises ContestantFailed, and AssertionError where a contestant has lost what it should have, or used other settings."""
    entry = CONTESTANTS[contestant]
    state = home / "state"
    state.mkdir(parents=True)
    if not entry.peer:
        define(state, corpus.folder)
    changed, deleted = corpus.sample(SHARE, 0), corpus.sample(SHARE, 1)
    kept = corpus.sample(SHARE, 2)[:_KEPT]
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
                    look_for=[uri(each) for each in (*touched, *kept)],
                    chroma_url=addresses.chroma_url or "",
                    postgres_url=addresses.postgres_url or "",
                    prefect_api_url=addresses.prefect_api_url or "",
                )
                say(f"{scenario} ...")
                outcome = process.run(task, home / "contestant.log")
                if entry.remembers:
                    _check_kept(contestant, outcome.texts, kept, changed if scenario == "changed" else ())
                yield Measured(
                    scenario,
                    outcome.seconds,
                    outcome.ready_bytes,
                    outcome.peak_bytes,
                    outcome.chunks,
                    _vectors(task.chroma_url),
                    len(touched),
                    sum(_found_as_it_was(outcome.texts[uri(each)], each) for each in touched),
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


def _found_as_it_was(texts: Sequence[str], number: int) -> bool:
    return any(marker(number, 0) in text for text in texts)


def _check_kept(contestant: str, texts: dict[str, list[str]], kept: Sequence[int], changed: Sequence[int]) -> None:
    """What was not touched must be found, and what was changed as it is now: else nothing left over proves nothing."""
    states = [(number, 0) for number in kept] + [(number, 1) for number in changed]
    lost = [uri(number) for number, state in states if not any(marker(number, state) in t for t in texts[uri(number)])]
    assert not lost, f"{contestant} does not find {', '.join(lost[:5])}"


def _vectors(chroma_url: str) -> int:
    """How many vectors the server holds, in collections that all have the benchmark's settings."""
    collections = open_client(chroma_url).list_collections()
    for each in collections:
        hnsw: Any = each.configuration["hnsw"]
        assert {key: hnsw[key] for key in HNSW} == HNSW, f"{each.name} has other settings: {hnsw}"
    return sum(each.count() for each in collections)
