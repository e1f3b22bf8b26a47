"""A small knowledge base that tests change, and nightly runs over it without Prefect."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mindset.application import Installation
from mindset.catalog.build import Build
from mindset.embedding.registry import open_embedder
from mindset.evaluation.evaluate import Evaluation, evaluate
from mindset.pipeline.chunk import chunk
from mindset.pipeline.embed import embed
from mindset.pipeline.index import IndexReport, index
from mindset.pipeline.ingest import IngestReport, ingest
from mindset.pipeline.plan import plan_build, version_to_evaluate, work_due
from mindset.pipeline.segments import restore_live
from mindset.releases import promotion

SUBJECTS = (
    "harbour",
    "glacier",
    "orchestra",
    "bakery",
    "telescope",
    "railway",
    "vineyard",
    "lighthouse",
    "library",
    "volcano",
)


class Corpus:
    """Documents in a folder. The knowledge base has a unique name, since tests share a Chroma server."""

    def __init__(self, folder: Path, definitions: Path) -> None:
        self.folder, self._definitions = folder, definitions
        self.name = f"kb-{uuid.uuid4().hex[:12]}"
        folder.mkdir()
        self._definition: dict[str, Any] = {
            "name": self.name,
            "title": "Test",
            "sources": [{"kind": "folder", "path": str(folder)}],
        }
        self.define()

    def define(self, **changes: Any) -> None:
        """Replace these keys of the definition and write it."""
        self._definition |= changes
        (self._definitions / f"{self.name}.yaml").write_text(yaml.safe_dump(self._definition))

    def write(self, uri: str, text: str | bytes) -> None:
        """Write a document."""
        file = self.folder / uri
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())

    def fill(self, documents: int = 10) -> None:
        """Write this many documents of several sections, each on its own subject."""
        for number in range(documents):
            self.write(f"doc{number}.md", document(number))

    def golden(self, *questions: dict[str, Any]) -> None:
        """Write a golden set of these questions and add it to the definition."""
        file = self._definitions / f"{self.name}.golden.jsonl"
        file.write_text("\n".join(json.dumps(question) for question in questions))
        self.define(evaluation={**self._definition.get("evaluation", {}), "golden_set": file.name})


def document(number: int, sections: int = 3) -> str:
    """Return Markdown in which each sentence names the subject and is unique."""
    subject = f"{SUBJECTS[number % len(SUBJECTS)]} {number}"
    parts = [f"# The {subject}\n\nThis page is about the {subject} and nothing else at all."]
    for section in range(sections):
        sentences = " ".join(
            f"Sentence {each} of section {section} says that the {subject} has {number * 100 + section * 10 + each} rooms."
            for each in range(4)
        )
        parts.append(f"## Part {section} of the {subject}\n\n{sentences}")
    return "\n\n".join(parts) + "\n"


@dataclass(frozen=True)
class NightResult:
    """The reports of a run's stages; None for stages that did not run."""

    ingested: IngestReport
    embedded: int | None
    indexed: IndexReport | None
    evaluation: Evaluation | None
    decision: promotion.Decision | None


def run_night(installation: Installation, name: str, *, allow_deletions: bool = False) -> NightResult:
    """Run the stages of a night in order and under the build lock, as the nightly flow does."""
    with installation.catalog.build_lock(name) as lock:
        return run_stages(installation, lock.build, allow_deletions=allow_deletions)


def run_stages(installation: Installation, build: Build, *, allow_deletions: bool = False) -> NightResult:
    """Run the stages of a night for a build, whether or not it still holds the lock."""
    catalog, name = installation.catalog, build.kb
    kb = installation.knowledge_base(name)
    embedded = indexed = evaluation = decision = None
    ingested = ingest(build, kb, allow_deletions=allow_deletions)
    due = work_due(catalog, kb)
    version = version_to_evaluate(catalog, name) if due.release else None
    if due.build:
        version = chunk(build, kb, plan_build(catalog, kb)).version
        embedder = open_embedder(kb.embedding, installation.settings)
        embedded = embed(build, kb, embedder, version).embedded
        indexed = index(build, kb, installation.vectors, version)
    else:
        restore_live(build, name, installation.vectors)
    if version:
        evaluation = evaluate(build, kb, installation.searcher, version)
        decision = promotion.deploy(build, name, evaluation.record.id, "test")
    return NightResult(ingested, embedded, indexed, evaluation, decision)


def begin_build(installation: Installation, name: str) -> Build:
    """Begin a build, for tests that run single stages. It may write until the next one begins."""
    with installation.catalog.build_lock(name) as lock:
        return lock.build


def ask(installation: Installation, name: str, question: str, *principals: str, limit: int = 5) -> list[str]:
    """Search, and return the URIs of the passages, best first."""
    result = installation.searcher.search(installation.knowledge_base(name), question, principals, limit)
    return [passage.place.uri for passage in result.passages]
