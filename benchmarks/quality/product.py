"""Product Mindset: a real night over the corpus, then searches and extractive answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from pydantic import SecretStr

from benchmarks.growth.nights import night
from benchmarks.quality.measures import Found
from benchmarks.quality.questions import Corpus
from cli.bootstrap import command
from cli.registration import PROJECT
from local_stack.supervision import local_stack
from mindset.application import Installation, open_installation
from mindset.config.ranking import ranking_options
from mindset.config.settings import Settings
from mindset.embedding.protocol import Embedder
from mindset.embedding.registry import open_embedder
from mindset.evaluation.evidence import Span
from mindset.generation.answer_stream import Answer, stream_answer
from mindset.generation.extractive import ExtractiveGenerator
from mindset.retrieval.passage import Passage


@contextmanager
def stack(folder: Path) -> Iterator[Installation]:
    """Start Postgres and Chroma in a folder, and open an installation."""
    (folder / "definitions").mkdir(parents=True)
    with local_stack(
        folder / "stack", services=["postgres", "chroma"], project=PROJECT, prepare=command(),
        knowledge_bases=folder / "definitions",
    ) as addresses:  # fmt: skip
        assert addresses.postgres_url
        settings = Settings(
            knowledge_bases=folder / "definitions",
            postgres_url=SecretStr(addresses.postgres_url),
            chroma_url=addresses.chroma_url,
        )
        with open_installation(settings) as installation:
            yield installation


class Product:
    """One knowledge base with one embedding model, built by a night."""

    def __init__(self, installation: Installation, name: str, corpus: Corpus, embedding: Mapping[str, Any]) -> None:
        definition = {
            "name": name,
            "title": corpus.name,
            "sources": [{"kind": "folder", "path": str(corpus.documents.resolve())}],
            "embedding": dict(embedding),
            "retrieval": {"deadline_s": 30},
        }
        assert installation.settings.knowledge_bases
        (installation.settings.knowledge_bases / f"{name}.yaml").write_text(yaml.safe_dump(definition))
        self._installation = installation
        self.kb = installation.knowledge_base(name)
        self.embedder: Embedder = open_embedder(self.kb.embedding, installation.settings)
        self.seconds = night(installation, self.embedder, name)["all"]
        installation.searcher.warm_up(self.kb)

    def passages(self, question: str, limit: int, **weights: float) -> tuple[Passage, ...]:
        """Search the live release, with other weights if they are given."""
        ranking = ranking_options(self.kb).model_copy(update=weights)
        result = self._installation.searcher.search(self.kb, question, ["*"], limit, join=False, ranking=ranking)
        assert not result.degraded, result.failures
        return result.passages

    def rank(self, question: str, limit: int, **weights: float) -> list[Found]:
        """Return the places of the passages."""
        return [
            Found(tuple(Span(place.uri, place.start, place.end) for place in passage.places))
            for passage in self.passages(question, limit, **weights)
        ]

    def answer(self, question: str) -> tuple[bool, set[str]]:
        """Return whether an extractive answer is supported, and the URIs that it cites."""
        result = self._installation.searcher.search(self.kb, question, ["*"])
        *_, answer = stream_answer(ExtractiveGenerator(), question, result.passages)
        assert isinstance(answer, Answer)
        return answer.supported, {result.passages[citation.passage - 1].place.uri for citation in answer.citations}
