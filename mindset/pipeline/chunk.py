"""The chunk stage: split changed documents into chunks and place them in the version that is being built."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mindset.catalog.build import Build
from mindset.catalog.documents import DocumentText, document_texts
from mindset.catalog.embedding_rejections import delete_outdated_rejections
from mindset.catalog.placements import DocumentPlacements, PlacementChanges, close_placements, place_documents
from mindset.catalog.quarantine import quarantine_revisions
from mindset.catalog.versions import begin_version, check_building
from mindset.chunking.chunker import chunk_document
from mindset.config.knowledge_base import KnowledgeBase
from mindset.config.ranking import ranking_options
from mindset.embedding.registry import model_id
from mindset.pipeline.concurrency import prefetch, store_concurrently, throttle
from mindset.pipeline.plan import BuildPlan
from mindset.pipeline.progress import Progress, no_progress

BATCH_DOCUMENTS = 100

# Postgres writes a batch while Python splits the next ones.
CONCURRENT_TRANSACTIONS = 2


@dataclass(frozen=True)
class ChunkReport:
    """The version that is being built, and how its placements differ from the previous version's."""

    version: int
    documents: int
    opened: int
    closed: int
    quarantined: tuple[tuple[str, str], ...] = ()
    """URI and reason of each document that could not be chunked."""


def chunk(
    build: Build,
    kb: KnowledgeBase,
    plan: BuildPlan,
    *,
    flow_run: str | None = None,
    duty_cycle: float = 1.0,
    progress: Progress = no_progress,
) -> ChunkReport:
    """Begin or resume a version and place the planned documents in it, one batch per transaction.

    A document that cannot be chunked is quarantined; its last usable revision stays in the version. `duty_cycle` is the
    fraction of the time that the stage works. Raises BuildTakenOver if another build has taken over, and
    UnknownVersion if the version was finished meanwhile."""
    with build.writing(alone=True) as connection:
        version = begin_version(
            connection, kb.name, model_id(kb.embedding), kb.embedding.dimension, kb.chunking.fingerprint,
            ranking_options(kb), flow_run,
        )  # fmt: skip
        delete_outdated_rejections(connection, kb.name, model_id(kb.embedding), kb.chunking.fingerprint)
        closed = close_placements(connection, kb.name, version, plan.to_remove) if plan.to_remove else 0

    def store(batch: _ChunkedBatch) -> tuple[PlacementChanges, dict[str, str]]:
        with build.writing() as connection:
            check_building(connection, kb.name, version)
            changes = place_documents(connection, kb.name, version, kb.chunking.fingerprint, batch.documents)
            quarantine_revisions(connection, kb.name, batch.rejected, kb.chunking.fingerprint)
        return changes, batch.rejected

    batches = _chunked_batches(build, kb, plan.to_chunk)
    stored = (
        store_concurrently(store, prefetch(batches), CONCURRENT_TRANSACTIONS)
        if duty_cycle == 1
        else map(store, throttle(batches, duty_cycle))
    )
    opened = done = 0
    quarantined: dict[str, str] = {}
    for changes, rejected in stored:
        quarantined |= rejected
        opened, closed = opened + changes.opened, closed + changes.closed
        done = min(done + BATCH_DOCUMENTS, len(plan.to_chunk))
        progress(done, len(plan.to_chunk))
    changed_documents = len(plan.to_chunk) - len(quarantined) + len(plan.to_remove)
    return ChunkReport(version, changed_documents, opened, closed, tuple(quarantined.items()))


@dataclass(frozen=True, slots=True)
class _ChunkedBatch:
    """The chunked documents of a batch, and {URI: reason} of those that could not be chunked."""

    documents: list[DocumentPlacements]
    rejected: dict[str, str]


def _chunked_batches(build: Build, kb: KnowledgeBase, uris: Sequence[str]) -> Iterator[_ChunkedBatch]:
    for start in range(0, len(uris), BATCH_DOCUMENTS):
        with build.reading() as connection:
            documents = list(document_texts(connection, kb.name, uris[start : start + BATCH_DOCUMENTS]))
        yield _chunk_batch(kb, documents)


def _chunk_batch(kb: KnowledgeBase, documents: Sequence[DocumentText]) -> _ChunkedBatch:
    chunked: list[DocumentPlacements] = []
    rejected: dict[str, str] = {}
    for document in documents:
        try:
            chunks = list(chunk_document(document.text, document.title, document.media_type, kb.chunking))
        except BaseException as error:
            # A panic in the sentence segmenter's Rust code is a BaseException whose type cannot be imported.
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            rejected[document.uri] = (
                f"Cannot be split into chunks ({type(error).__name__}). Change its text, or leave it out; "
                "it is tried again when its file changes."
            )
        else:
            chunked.append(DocumentPlacements(document.uri, document.content_hash, chunks))
    return _ChunkedBatch(chunked, rejected)
