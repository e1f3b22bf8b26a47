"""Ranking options: everything in a definition that the order of search results depends on. Each version stores its own."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict

from mindset.config.build_options import Embedding
from mindset.config.definition import StrictModel
from mindset.config.knowledge_base import KnowledgeBase
from mindset.config.retrieval_options import Reranking
from mindset.text.words import word_analyzer


class RankingOptions(StrictModel):
    """How a version is searched.

    They are stored with the version, so that a change of the definition reaches callers only after a night has evaluated
    and released a version with it."""

    # A release may read what a newer one has stored.
    model_config = ConfigDict(extra="ignore")

    analysis: str
    """Name of the analysis that splits texts and questions into words."""

    @property
    def language(self) -> str:
        """The language whose words the analysis reduces to stems."""
        return self.analysis.partition(":")[2]

    candidates: int
    """Number of chunks that dense and full-text search propose each."""

    fusion: Literal["ranks", "scores"] = "ranks"
    """What the fusion adds up. Versions of earlier releases do not name it: they add up ranks."""

    dense_weight: float
    """Weight of dense search in the fusion."""

    lexical_weight: float
    """Weight of full-text search in the fusion."""

    merge_near_duplicates: bool = False
    """Whether near-duplicates are one result. Versions of earlier releases do not know them."""

    canonical: tuple[str, ...] = ()
    """Globs of the documents that come first among the places of a result, in this order."""

    rerank: Reranking | None
    """The model that reorders the fused ranking."""


def ranking_options(kb: KnowledgeBase) -> RankingOptions:
    """Return the ranking options of a definition, with its defaults filled in."""
    configured = kb.retrieval.dense_weight
    return RankingOptions(
        analysis=word_analyzer(kb.chunking.language).name,
        candidates=kb.retrieval.candidates,
        fusion="scores",
        dense_weight=default_dense_weight(kb.embedding) if configured is None else configured,
        lexical_weight=kb.retrieval.lexical_weight,
        merge_near_duplicates=kb.retrieval.merge_near_duplicates,
        canonical=kb.retrieval.canonical,
        rerank=kb.retrieval.rerank,
    )


def default_dense_weight(embedding: Embedding) -> float:
    """Return the default weight of dense search in the fusion of scores, of which full-text search has 1.

    0.6 for WordLlama, whose vectors are sums of words, and 0.8 for local models: chosen on this project's documentation and
    the five corpora of Chroma's chunking evaluation. Larger models of providers were not measured; 1 treats them as equal."""
    return {"wordllama": 0.6, "onnx": 0.8}.get(embedding.provider, 1.0)
