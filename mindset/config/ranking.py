"""Ranking options: everything in a definition that the order of search results depends on. Each version stores its own."""

from __future__ import annotations

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

    candidates: int
    """Number of chunks that dense and full-text search propose each."""

    dense_weight: float
    """Weight of dense search in the fusion."""

    lexical_weight: float
    """Weight of full-text search in the fusion."""

    rerank: Reranking | None
    """The model that reorders the fused ranking."""


def ranking_options(kb: KnowledgeBase) -> RankingOptions:
    """Return the ranking options of a definition, with its defaults filled in."""
    configured = kb.retrieval.dense_weight
    return RankingOptions(
        analysis=word_analyzer(kb.chunking.language).name,
        candidates=kb.retrieval.candidates,
        dense_weight=default_dense_weight(kb.embedding) if configured is None else configured,
        lexical_weight=kb.retrieval.lexical_weight,
        rerank=kb.retrieval.rerank,
    )


def default_dense_weight(embedding: Embedding) -> float:
    """Return the default weight of dense search: 0.3 for WordLlama, whose vectors are sums of words, otherwise 1.

    Chosen among about sixty fusions by the mean recall@5 over guides, docs and the two corpora of Chroma's chunking
    evaluation: 0.862 with 0.3, 0.826 with 1, with an emulation of Postgres' full-text ranking. There was no held-out
    set, so the gain on other corpora may be smaller."""
    return 0.3 if embedding.provider == "wordllama" else 1.0
