"""The embed stage: compute the vectors of texts that the model has not embedded yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mindset.catalog.build import Build
from mindset.catalog.documents import documents_with_chunks
from mindset.catalog.embedding_rejections import reject_documents, rejection_counts
from mindset.catalog.embeddings import prepare_model, store_embeddings
from mindset.catalog.garbage_collection import wait_for_embedding_deletion
from mindset.catalog.placements import UnembeddedChunks, close_placements, read_chunks
from mindset.catalog.pool import Catalog
from mindset.catalog.versions import first_unindexed_version
from mindset.config.knowledge_base import KnowledgeBase
from mindset.embedding.protocol import Embedder, Vectors
from mindset.embedding.registry import model_id
from mindset.errors import ProviderRejected
from mindset.pipeline.concurrency import prefetch, throttle
from mindset.pipeline.progress import Progress, no_progress

# A few seconds of work for a small model on a CPU; a kill loses no more than this.
BATCH_TEXTS = 2_000
# Number of ids held in memory, 20 MB. Pages are larger if there would be very many, since each page is a query over
# everything that is not embedded yet.
_PAGE_TEXTS = 200_000
_MAX_PAGES = 16
_MAX_REPORTED_DOCUMENTS = 3

Batch = tuple[Sequence[str], list[str]]
"""Chunk ids and their texts."""


@dataclass(frozen=True)
class EmbedReport:
    """The number of texts embedded, and (URI, reason) of documents quarantined because the provider rejects a text."""

    embedded: int
    quarantined: tuple[tuple[str, str], ...] = ()


def embed(
    build: Build,
    kb: KnowledgeBase,
    embedder: Embedder,
    version: int,
    *,
    shard: int = 0,
    shards: int = 1,
    duty_cycle: float = 1.0,
    progress: Progress = no_progress,
) -> EmbedReport:
    """Embed this shard of the version's new texts, one batch per transaction.

    Documents with a text that the provider rejects are removed from the version and quarantined for this model.
    `duty_cycle` is the fraction of the time that the stage works. Raises ProviderUnavailable, and ProviderRejected if the
    provider rejects every request, or so many documents that the configuration must be wrong; what was embedded before is
    kept."""
    model = model_id(kb.embedding)
    with build.writing() as connection:
        prepare_model(connection, model)
    with build.writing() as connection:
        # A transaction after the wait, since unused vectors may just have been deleted.
        wait_for_embedding_deletion(connection, model)
        from_version = first_unindexed_version(connection, kb.name, version, model)
        unembedded = UnembeddedChunks(kb.name, version, from_version, model, shard, shards)
        due = unembedded.count(connection)
    done = 0
    quarantined: dict[str, str] = {}
    batches = _embed_batches(embedder, prefetch(_read_batches(build.catalog, unembedded, due)))
    for embedded in prefetch(batches) if duty_cycle == 1 else throttle(batches, duty_cycle):
        with build.writing() as connection:
            store_embeddings(connection, model, embedded.chunk_ids, embedded.vectors)
        if embedded.rejected:
            quarantined |= _quarantine(build, kb, version, embedded.rejected)
        done += len(embedded.chunk_ids)
        progress(min(done, due), due)
    if done < due:  # another knowledge base has embedded the rest meanwhile, or texts were rejected
        progress(due, due)
    return EmbedReport(done, tuple(sorted(quarantined.items())))


def _quarantine(build: Build, kb: KnowledgeBase, version: int, rejected: dict[str, str]) -> dict[str, str]:
    """Remove the documents of rejected chunks, {chunk id: reason}, from the version. Returns {URI: reason}.

    Raises ProviderRejected if these are so many documents that the rest must be reviewed before a release."""
    reasons: dict[str, str] = {}
    with build.writing(alone=True) as connection:
        for chunk_id, reason in rejected.items():
            for uri in documents_with_chunks(connection, kb.name, version, [chunk_id]):
                reasons.setdefault(uri, reason)
        if not reasons:
            return {}
        close_placements(connection, kb.name, version, list(reasons))
        reject_documents(connection, kb.name, model_id(kb.embedding), kb.chunking.fingerprint, reasons)
        count, remaining = rejection_counts(connection, kb.name, version)
        if not remaining or (count > 1 and count > kb.max_deletion_ratio * (count + remaining)):
            # Rolls the transaction back: with a corrected configuration, all documents are tried again.
            uris = sorted(reasons)[:_MAX_REPORTED_DOCUMENTS]
            raise ProviderRejected(
                f"{reasons[uris[0]]} The provider rejects texts of {count} of {count + remaining} documents, among them "
                f"{', '.join(uris)}; more than max_deletion_ratio ({kb.max_deletion_ratio:.0%}) are not quarantined. If the "
                "texts are too long, lower chunking.tokens; or leave these documents out."
            )
    return reasons


def _read_batches(catalog: Catalog, unembedded: UnembeddedChunks, due: int) -> Iterator[Batch]:
    """Yield chunk ids and texts in batches."""
    limit = max(_PAGE_TEXTS, due // _MAX_PAGES)
    page: list[str] = []
    while True:
        with catalog.reading() as connection:
            page = unembedded.page(connection, after=page[-1] if page else "", limit=limit)
        for start in range(0, len(page), BATCH_TEXTS):
            chunk_ids = page[start : start + BATCH_TEXTS]
            with catalog.reading() as connection:
                chunks = read_chunks(connection, unembedded.kb, chunk_ids)
            yield chunk_ids, [chunk.embedding_text for chunk in chunks]
        if len(page) < limit:
            return


@dataclass(frozen=True)
class _EmbeddedBatch:
    """Chunk ids and their vectors, and {chunk id: reason} of those that the provider rejects."""

    chunk_ids: Sequence[str]
    vectors: Vectors
    rejected: dict[str, str]


def _embed_batches(embedder: Embedder, batches: Iterator[Batch]) -> Iterator[_EmbeddedBatch]:
    """Embed each batch, without the texts that the provider rejects. Raises ProviderRejected, ProviderUnavailable."""
    for chunk_ids, texts in batches:
        try:
            yield _EmbeddedBatch(chunk_ids, embedder.embed_passages(texts), {})
        except ProviderRejected as error:
            rejected = rejected_texts(embedder, texts) if error.for_input else {}
            if not rejected:
                raise
            accepted = [at for at in range(len(texts)) if at not in rejected]
            yield _EmbeddedBatch(
                [chunk_ids[at] for at in accepted],
                embedder.embed_passages([texts[at] for at in accepted]),
                {chunk_ids[at]: reason for at, reason in rejected.items()},
            )


def rejected_texts(embedder: Embedder, texts: Sequence[str]) -> dict[int, str]:
    """Return {index: reason} of the texts that the provider rejects; empty if it rejects every request.

    Finding one text by bisection takes about 2 log2(number of texts) requests. Raises ProviderUnavailable, and
    ProviderRejected if the provider refuses all requests from some moment on, for example because a key was revoked."""
    if _rejection(embedder, ["text"]) is not None:
        return {}
    rejected = dict(_rejected_between(embedder, texts, 0, len(texts)))
    if (refusal := _rejection(embedder, ["text"])) is not None:  # since when is unknown
        raise ProviderRejected(refusal)
    return rejected


def _rejected_between(embedder: Embedder, texts: Sequence[str], start: int, end: int) -> Iterator[tuple[int, str]]:
    reason = _rejection(embedder, texts[start:end])
    if reason is None:
        return
    if end - start == 1:
        yield start, reason
        return
    middle = (start + end) // 2
    yield from _rejected_between(embedder, texts, start, middle)
    yield from _rejected_between(embedder, texts, middle, end)


def _rejection(embedder: Embedder, texts: Sequence[str]) -> str | None:
    """Return why the provider rejects the texts, or None if it accepts them."""
    try:
        embedder.embed_passages(texts)
    except ProviderRejected as error:
        if not error.for_input:
            raise
        return str(error)
    return None
