"""The embed stage: compute the vectors of texts that the model has not embedded yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from mindset.catalog.build import Build
from mindset.catalog.documents import documents_with_chunks
from mindset.catalog.embeddings import prepare_model, store_embeddings
from mindset.catalog.garbage_collection import wait_for_embedding_deletion
from mindset.catalog.placements import UnembeddedChunks, read_chunks
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
# Finding each rejected text costs some twenty requests, and three are enough to act on.
MAX_REPORTED_TEXTS = 3


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
) -> int:
    """Embed this shard of the version's new texts, one batch per transaction, and return their number.

    `duty_cycle` is the fraction of the time that the stage works. Raises ProviderRejected naming documents whose texts
    were rejected, and ProviderUnavailable; what was embedded before is kept."""
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
    batches = _embed_batches(
        build.catalog, kb, embedder, version, prefetch(_read_batches(build.catalog, unembedded, due))
    )
    for chunk_ids, vectors in prefetch(batches) if duty_cycle == 1 else throttle(batches, duty_cycle):
        with build.writing() as connection:
            store_embeddings(connection, model, chunk_ids, vectors)
        done += len(chunk_ids)
        progress(done, due)
    if done < due:  # another knowledge base has embedded the rest meanwhile
        progress(due, due)
    return done


def _read_batches(
    catalog: Catalog, unembedded: UnembeddedChunks, due: int
) -> Iterator[tuple[Sequence[str], list[str]]]:
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


def _embed_batches(
    catalog: Catalog,
    kb: KnowledgeBase,
    embedder: Embedder,
    version: int,
    batches: Iterator[tuple[Sequence[str], list[str]]],
) -> Iterator[tuple[Sequence[str], Vectors]]:
    """Yield chunk ids and vectors. Raises ProviderRejected naming documents, ProviderUnavailable."""
    for chunk_ids, texts in batches:
        try:
            vectors: Vectors = embedder.embed_passages(texts)
        except ProviderRejected as error:
            rejected = [chunk_ids[at] for at in islice(rejected_texts(embedder, texts), MAX_REPORTED_TEXTS)]
            if not rejected:
                raise
            with catalog.reading() as connection:
                uris = documents_with_chunks(connection, kb.name, version, rejected)
            raise ProviderRejected(
                f"{error} The rejected texts occur in {', '.join(uris[:MAX_REPORTED_TEXTS])}, perhaps in others too. "
                "If they are too long, lower chunking.tokens; or leave these documents out."
            ) from error
        yield chunk_ids, vectors


def rejected_texts(embedder: Embedder, texts: Sequence[str]) -> Iterator[int]:
    """Yield the indexes of texts that the provider rejects, in order; none if it rejects every request, as without access.

    Finding one text by bisection takes about 2 log2(number of texts) requests. Raises ProviderUnavailable."""
    if _accepts(embedder, ["text"]):
        yield from _rejected_between(embedder, texts, 0, len(texts))


def _rejected_between(embedder: Embedder, texts: Sequence[str], start: int, end: int) -> Iterator[int]:
    if _accepts(embedder, texts[start:end]):
        return
    if end - start == 1:
        yield start
        return
    middle = (start + end) // 2
    yield from _rejected_between(embedder, texts, start, middle)
    yield from _rejected_between(embedder, texts, middle, end)


def _accepts(embedder: Embedder, texts: Sequence[str]) -> bool:
    try:
        embedder.embed_passages(texts)
    except ProviderRejected:
        return False
    return True
