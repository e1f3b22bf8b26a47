"""Chunk: changed documents are cut, and their chunks placed in the version that is being built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mindset.builds.plan import BuildPlan
from mindset.builds.progress import Progress, unwatched
from mindset.catalog.connection import Catalog
from mindset.catalog.documents import DocumentText, document_texts
from mindset.catalog.languages import check_language
from mindset.catalog.placements import DocumentPlacements, displace, place
from mindset.catalog.versions import begin_version
from mindset.chunking.chunker import cut_document
from mindset.embedding.registry import model_id
from mindset.knowledge_base import KnowledgeBase

BATCH_DOCUMENTS = 100


@dataclass(frozen=True)
class ChunkReport:
    """The version that is being built, and how its placements differ from the one before."""

    version: int
    documents: int
    opened: int
    closed: int


def chunk(
    catalog: Catalog, kb: KnowledgeBase, plan: BuildPlan, *, flow_run: str | None = None, progress: Progress = unwatched
) -> ChunkReport:
    """Begin (or go on with) a version and place the planned documents in it, a batch a transaction.

    Raises ConfigurationError where Postgres does not know the language; no version is begun then."""
    with catalog.writing() as connection:
        check_language(connection, kb.name, kb.chunking.language)
        version = begin_version(
            connection, kb.name, model_id(kb.embedding), kb.embedding.dimension, kb.chunking.fingerprint, flow_run
        )
        closed = displace(connection, kb.name, version, plan.displace) if plan.displace else 0
    opened = 0
    for start in range(0, len(plan.place), BATCH_DOCUMENTS):
        batch = plan.place[start : start + BATCH_DOCUMENTS]
        with catalog.reading() as connection:
            documents = list(document_texts(connection, kb.name, batch))
        cut = _cut(kb, documents)
        with catalog.writing() as connection:
            changes = place(connection, kb.name, version, kb.chunking.language, kb.chunking.fingerprint, cut)
        opened, closed = opened + changes.opened, closed + changes.closed
        progress(start + len(batch), len(plan.place))
    return ChunkReport(version, len(plan.place) + len(plan.displace), opened, closed)


def _cut(kb: KnowledgeBase, documents: Sequence[DocumentText]) -> list[DocumentPlacements]:
    return [
        DocumentPlacements(
            each.uri, each.content_hash, list(cut_document(each.text, each.title, each.media_type, kb.chunking))
        )
        for each in documents
    ]
