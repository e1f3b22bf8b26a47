"""What the same change costs in a small and in a large knowledge base, and how fast questions are answered there."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.ingest.nightly import rest, whole_night
from mindset import releases
from mindset.builds.chunk import chunk
from mindset.builds.embed import embed
from mindset.builds.index import index
from mindset.builds.ingest import ingest
from mindset.builds.plan import plan_build
from mindset.builds.segments import restore_live
from mindset.embedding.protocol import Embedder
from mindset.installation import Installation
from mindset.maintenance import maintain

KB = "growth"
CHANGED = 50
QUESTIONS = 300
_A_FOLDER = 1_000


@dataclass
class NightsAt:
    """At one size: seconds of each night and of maintenance, milliseconds of questions."""

    documents: int
    grown_by: int
    grown: float
    unchanged: list[float] = field(default_factory=list)
    changed: list[float] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=dict)
    """Median seconds of each stage of the nights that changed something."""
    maintained: float = 0.0
    question_p50: float = 0.0
    question_p95: float = 0.0


class Notes:
    """Short documents of a chunk each, made of real sentences; a note's text depends on its number and state alone."""

    def __init__(self, folder: Path, sentences: Sequence[str]) -> None:
        self.folder, self._sentences = folder, sentences

    def write(self, numbers: range | Sequence[int], state: int = 0) -> None:
        """Write these notes in that state."""
        for number in numbers:
            file = self.folder / f"{number // _A_FOLDER:04}" / f"note-{number:07}.md"
            file.parent.mkdir(parents=True, exist_ok=True)
            choose = random.Random(f"{number} {state}")
            file.write_text(f"# Note {number}\n\n{' '.join(choose.choices(self._sentences, k=4))}\n", encoding="utf-8")

    def questions(self, count: int) -> list[str]:
        """Halves of sentences."""
        choose = random.Random("questions")
        return [" ".join(each.split()[::2]) for each in choose.sample(list(self._sentences), count)]


def measure_nights(
    installation: Installation,
    embedder: Embedder,
    notes: Notes,
    sizes: Sequence[int],
    repeats: int,
    a_night: Callable[[], dict[str, float]],
) -> Iterator[NightsAt]:
    """Let the notes grow from size to size. At each: nights without a change, nights with the same change, questions.

    `a_night` has one, and tells the seconds of it as `night` does; what makes the notes grow is always without Prefect."""
    written = 0
    for size in sizes:
        notes.write(range(written, size))
        found = NightsAt(size, size - written, night(installation, embedder)["all"])
        written = size
        _maintain(installation)
        found.unchanged = [a_night()["all"] for _ in range(repeats)]
        nights = []
        for repeat in range(repeats):
            step = size // CHANGED
            notes.write(range(repeat, size, step)[:CHANGED], state=repeat + 1)
            nights.append(a_night())
        found.changed = [each.pop("all") for each in nights]
        found.stages = {stage: statistics.median(each[stage] for each in nights) for stage in nights[0]}
        found.question_p50, found.question_p95 = _ask(installation, notes.questions(QUESTIONS))
        found.maintained = _maintain(installation)
        yield found


def night(installation: Installation, embedder: Embedder, name: str = KB) -> dict[str, float]:
    """Seconds of each stage, and of `all`; what it builds is promoted without being judged."""
    catalog, kb, vectors = installation.catalog, installation.knowledge_base(name), installation.vectors
    seconds: dict[str, float] = {}
    began = last = time.perf_counter()

    def done(stage: str) -> None:
        nonlocal last
        now = time.perf_counter()
        seconds[stage], last = now - last, now

    with catalog.build_lock(name):
        ingest(catalog, kb)
        done("ingest")
        plan = plan_build(catalog, kb)
        done("plan")
        if plan.builds:
            version = chunk(catalog, kb, plan).version
            done("chunk")
            embed(catalog, kb, embedder, version)
            done("embed")
            index(catalog, kb, vectors, version)
            done("index")
            releases.promote(catalog, name, version, "benchmark", "measured")
            done("deploy")
        else:
            restore_live(catalog, name, vectors)
            done("look at live")
    return seconds | {"all": time.perf_counter() - began}


def night_through_prefect(prefect_api_url: str) -> dict[str, float]:
    """Seconds from asking Prefect for a night until its run has ended; then waits for the check of quality that it asked for."""
    began = time.perf_counter()
    whole_night(prefect_api_url, KB)
    seconds = time.perf_counter() - began
    rest()
    return {"all": seconds}


def _maintain(installation: Installation) -> float:
    began = time.perf_counter()
    with installation.catalog.build_lock(KB):
        maintain(installation.catalog, installation.knowledge_base(KB), installation.vectors)
    return time.perf_counter() - began


def _ask(installation: Installation, questions: Sequence[str]) -> tuple[float, float]:
    """p50 and p95 in milliseconds of whole searches: embedding, vectors, full text, rights."""
    kb = installation.knowledge_base(KB)
    milliseconds = []
    for question in (*questions[:20], *questions):  # the first are for warming up
        began = time.perf_counter()
        found = installation.searcher.search(kb, question, [])
        milliseconds.append((time.perf_counter() - began) * 1000)
        assert not found.degraded, found.failures
    cuts = statistics.quantiles(milliseconds[20:], n=20)
    return statistics.median(milliseconds[20:]), cuts[18]
