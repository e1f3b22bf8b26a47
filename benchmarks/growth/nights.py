"""The cost of the same change in a small and in a large knowledge base, and the latency of searches there."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.ingest.nightly import rest, whole_night
from mindset.application import Installation
from mindset.embedding.protocol import Embedder
from mindset.pipeline.chunk import chunk
from mindset.pipeline.embed import embed
from mindset.pipeline.index import index
from mindset.pipeline.ingest import ingest
from mindset.pipeline.maintenance import maintain
from mindset.pipeline.plan import plan_build
from mindset.pipeline.segments import restore_live
from mindset.releases import promotion

KB = "growth"
CHANGED = 50
QUESTIONS = 300
_NOTES_PER_FOLDER = 1_000


@dataclass
class NightsAt:
    """Results at one size: seconds of the nights and of maintenance, milliseconds of questions."""

    documents: int
    grown_by: int
    grown: float
    unchanged: list[float] = field(default_factory=list)
    changed: list[float] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=dict)
    """Median seconds of each stage of the nights with changes."""
    maintained: float = 0.0
    question_p50: float = 0.0
    question_p95: float = 0.0


class Notes:
    """Short documents of one chunk each, made of real sentences. A text depends only on the note's number and state."""

    def __init__(self, folder: Path, sentences: Sequence[str]) -> None:
        self.folder, self._sentences = folder, sentences

    def write(self, numbers: range | Sequence[int], state: int = 0) -> None:
        """Write these notes in that state."""
        for number in numbers:
            file = self.folder / f"{number // _NOTES_PER_FOLDER:04}" / f"note-{number:07}.md"
            file.parent.mkdir(parents=True, exist_ok=True)
            choose = random.Random(f"{number} {state}")
            file.write_text(f"# Note {number}\n\n{' '.join(choose.choices(self._sentences, k=4))}\n", encoding="utf-8")

    def questions(self, count: int) -> list[str]:
        """Return questions: every other word of a sentence."""
        choose = random.Random("questions")
        return [" ".join(sentence.split()[::2]) for sentence in choose.sample(list(self._sentences), count)]


def measure_nights(
    installation: Installation,
    embedder: Embedder,
    notes: Notes,
    sizes: Sequence[int],
    repeats: int,
    a_night: Callable[[], dict[str, float]],
) -> Iterator[NightsAt]:
    """Grow the notes from size to size. At each size: nights without changes, nights with the same change, questions.

    `a_night` runs a night and returns its seconds as `night` does. The nights that add notes always run without Prefect."""
    written = 0
    for size in sizes:
        notes.write(range(written, size))
        result = NightsAt(size, size - written, night(installation, embedder)["all"])
        written = size
        _maintain(installation)
        result.unchanged = [a_night()["all"] for _ in range(repeats)]
        nights = []
        for repeat in range(repeats):
            step = size // CHANGED
            notes.write(range(repeat, size, step)[:CHANGED], state=repeat + 1)
            nights.append(a_night())
        result.changed = [seconds.pop("all") for seconds in nights]
        result.stages = {stage: statistics.median(seconds[stage] for seconds in nights) for stage in nights[0]}
        result.question_p50, result.question_p95 = _ask(installation, notes.questions(QUESTIONS))
        result.maintained = _maintain(installation)
        yield result


def night(installation: Installation, embedder: Embedder, name: str = KB) -> dict[str, float]:
    """Run the stages and return the seconds of each, and of `all`. The new version is promoted without evaluation."""
    catalog, kb, vectors = installation.catalog, installation.knowledge_base(name), installation.vectors
    seconds: dict[str, float] = {}
    started = last = time.perf_counter()

    def done(stage: str) -> None:
        nonlocal last
        now = time.perf_counter()
        seconds[stage], last = now - last, now

    with catalog.build_lock(name) as lock:
        build = lock.build
        ingest(build, kb)
        done("ingest")
        plan = plan_build(catalog, kb)
        done("plan")
        if plan.builds:
            version = chunk(build, kb, plan).version
            done("chunk")
            embed(build, kb, embedder, version)
            done("embed")
            index(build, kb, vectors, version)
            done("index")
            promotion.promote(catalog, name, version, "benchmark", "measured")
            done("deploy")
        else:
            restore_live(build, name, vectors)
            done("check live segments")
    return seconds | {"all": time.perf_counter() - started}


def night_through_prefect(prefect_api_url: str) -> dict[str, float]:
    """Return the seconds from the request to Prefect until the run has ended. Then wait for the quality check it started."""
    started = time.perf_counter()
    whole_night(prefect_api_url, KB)
    seconds = time.perf_counter() - started
    rest()
    return {"all": seconds}


def _maintain(installation: Installation) -> float:
    started = time.perf_counter()
    with installation.catalog.build_lock(KB) as lock:
        maintain(lock.build, installation.knowledge_base(KB), installation.vectors)
    return time.perf_counter() - started


def _ask(installation: Installation, questions: Sequence[str]) -> tuple[float, float]:
    """Return p50 and p95 in milliseconds of whole searches: embedding, vector and full-text search, access control."""
    kb = installation.knowledge_base(KB)
    milliseconds = []
    for question in (*questions[:20], *questions):  # the first 20 warm up
        started = time.perf_counter()
        result = installation.searcher.search(kb, question, [])
        milliseconds.append((time.perf_counter() - started) * 1000)
        assert not result.degraded, result.failures
    cuts = statistics.quantiles(milliseconds[20:], n=20)
    return statistics.median(milliseconds[20:]), cuts[18]
