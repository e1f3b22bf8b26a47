"""Chunk: changed documents are cut, and their chunks placed in the version that is being built."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mindset.builds.batches import ahead, rested, stored
from mindset.builds.plan import BuildPlan
from mindset.builds.progress import Progress, unwatched
from mindset.catalog.connection import Catalog
from mindset.catalog.documents import DocumentText, document_texts, refuse_revisions
from mindset.catalog.languages import check_language
from mindset.catalog.placements import DocumentPlacements, PlacementChanges, displace, place
from mindset.catalog.versions import begin_version, hold_version
from mindset.chunking.chunker import cut_document
from mindset.embedding.registry import model_id
from mindset.knowledge_base import KnowledgeBase

BATCH_DOCUMENTS = 100

# Transactions at a time: most of a batch's cost is Postgres analysing its text, on one core a transaction.
STORING = 2


@dataclass(frozen=True)
class ChunkReport:
    """The version that is being built, and how its placements differ from the one before."""

    version: int
    documents: int
    opened: int
    closed: int
    quarantined: tuple[tuple[str, str], ...] = ()
    """URI and reason of what could not be cut."""


def chunk(
    catalog: Catalog,
    kb: KnowledgeBase,
    plan: BuildPlan,
    *,
    flow_run: str | None = None,
    share: float = 1.0,
    progress: Progress = unwatched,
) -> ChunkReport:
    """Begin (or go on with) a version and place the planned documents in it, a batch a transaction.

    A document that cannot be cut is quarantined; its last good revision stays in the version. `share` of the time is
    spent on it.
    Raises ConfigurationError where Postgres does not know the language; no version is begun then. Raises UnknownVersion
    where another run has taken the version over."""
    with catalog.writing() as connection:
        check_language(connection, kb.name, kb.chunking.language)
        version = begin_version(
            connection, kb.name, model_id(kb.embedding), kb.embedding.dimension, kb.chunking.fingerprint, flow_run
        )
        closed = displace(connection, kb.name, version, plan.displace) if plan.displace else 0
    opened = done = 0
    quarantined: dict[str, str] = {}

    def store(batch: _Cut) -> tuple[PlacementChanges, dict[str, str]]:
        with catalog.writing() as connection:
            hold_version(connection, kb.name, version, flow_run)
            changes = place(
                connection, kb.name, version, kb.chunking.language, kb.chunking.fingerprint, batch.documents
            )
            refuse_revisions(connection, kb.name, batch.refused, kb.chunking.fingerprint)
        return changes, batch.refused

    batches = _cut_batches(catalog, kb, plan.place)
    placed = stored(store, ahead(batches), STORING) if share == 1 else map(store, rested(batches, share))
    for changes, refused in placed:
        quarantined |= refused
        opened, closed = opened + changes.opened, closed + changes.closed
        done = min(done + BATCH_DOCUMENTS, len(plan.place))
        progress(done, len(plan.place))
    documents_changed = len(plan.place) - len(quarantined) + len(plan.displace)
    return ChunkReport(version, documents_changed, opened, closed, tuple(quarantined.items()))


@dataclass(frozen=True, slots=True)
class _Cut:
    """A batch of documents that were cut, and {URI: reason} of those that could not be."""

    documents: list[DocumentPlacements]
    refused: dict[str, str]


def _cut_batches(catalog: Catalog, kb: KnowledgeBase, uris: Sequence[str]) -> Iterator[_Cut]:
    for start in range(0, len(uris), BATCH_DOCUMENTS):
        with catalog.reading() as connection:
            documents = list(document_texts(connection, kb.name, uris[start : start + BATCH_DOCUMENTS]))
        yield _cut(kb, documents)


def _cut(kb: KnowledgeBase, documents: Sequence[DocumentText]) -> _Cut:
    cut: list[DocumentPlacements] = []
    refused: dict[str, str] = {}
    for each in documents:
        try:
            placed = list(cut_document(each.text, each.title, each.media_type, kb.chunking))
        except BaseException as broken:
            # A panic in Rust (the sentence segmenter) arrives as a BaseException of a type that cannot be imported.
            if not isinstance(broken, Exception) and type(broken).__name__ != "PanicException":
                raise
            refused[each.uri] = (
                f"Cannot be cut into chunks ({type(broken).__name__}). Change its text, or leave it out; "
                "it is tried again when its file changes."
            )
        else:
            cut.append(DocumentPlacements(each.uri, each.content_hash, placed))
    return _Cut(cut, refused)
