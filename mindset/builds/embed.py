"""Embed: texts that the model has not seen get their vectors, once and for ever."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from mindset.builds.batches import ahead, rested
from mindset.builds.progress import Progress, unwatched
from mindset.catalog.connection import Catalog
from mindset.catalog.documents import documents_with_chunks
from mindset.catalog.embeddings import prepare_model, store_embeddings
from mindset.catalog.placements import Unembedded, read_chunks
from mindset.catalog.retention import await_forgetting
from mindset.catalog.versions import first_unbuilt
from mindset.embedding.protocol import Embedder, Vectors
from mindset.embedding.registry import model_id
from mindset.errors import ProviderRejected
from mindset.knowledge_base import KnowledgeBase

# Seconds of work for a small model on a CPU; a kill loses no more than this.
BATCH_TEXTS = 2_000
# Ids that are held at a time, 20 MB of them; more where there would be very many pages, since each is a search among all that
# is not embedded yet.
_PAGE_TEXTS = 200_000
_MOST_PAGES = 16
# Enough to act on; finding each refused text costs some twenty requests.
NAMED_TEXTS = 3


def embed(
    catalog: Catalog,
    kb: KnowledgeBase,
    embedder: Embedder,
    version: int,
    *,
    shard: int = 0,
    shards: int = 1,
    share: float = 1.0,
    progress: Progress = unwatched,
) -> int:
    """Embed this shard of the version's new texts, a batch a transaction; returns how many there were.

    `share` of the time is spent on it. Raises ProviderRejected, which names the documents whose texts are refused, and
    ProviderUnavailable; what was embedded before is kept."""
    model = model_id(kb.embedding)
    with catalog.writing() as connection:
        prepare_model(connection, model)
    with catalog.writing() as connection:
        # A transaction of its own after the wait: vectors that nobody needed may just have been forgotten.
        await_forgetting(connection, model)
        since = first_unbuilt(connection, kb.name, version, model)
        unembedded = Unembedded(kb.name, version, since, model, shard, shards)
        due = unembedded.count(connection)
    done = 0
    batches = _embedded(catalog, kb, embedder, version, ahead(_read(catalog, unembedded, due)))
    for ids, vectors in ahead(batches) if share == 1 else rested(batches, share):
        with catalog.writing() as connection:
            store_embeddings(connection, model, ids, vectors)
        done += len(ids)
        progress(done, due)
    if done < due:  # another knowledge base has embedded the rest meanwhile
        progress(due, due)
    return done


def _read(catalog: Catalog, unembedded: Unembedded, due: int) -> Iterator[tuple[Sequence[str], list[str]]]:
    """Ids and texts, a batch at a time."""
    limit = max(_PAGE_TEXTS, due // _MOST_PAGES)
    page: list[str] = []
    while True:
        with catalog.reading() as connection:
            page = unembedded.page(connection, after=page[-1] if page else "", limit=limit)
        for start in range(0, len(page), BATCH_TEXTS):
            ids = page[start : start + BATCH_TEXTS]
            with catalog.reading() as connection:
                chunks = read_chunks(connection, unembedded.kb, ids)
            yield ids, [each.embedded for each in chunks]
        if len(page) < limit:
            return


def _embedded(
    catalog: Catalog,
    kb: KnowledgeBase,
    embedder: Embedder,
    version: int,
    batches: Iterator[tuple[Sequence[str], list[str]]],
) -> Iterator[tuple[Sequence[str], Vectors]]:
    """Ids and vectors. Raises ProviderRejected naming documents, ProviderUnavailable."""
    for ids, texts in batches:
        try:
            vectors: Vectors = embedder.embed_passages(texts)
        except ProviderRejected as rejected:
            refused = [ids[at] for at in islice(_refused(embedder, texts), NAMED_TEXTS)]
            if not refused:
                raise
            with catalog.reading() as connection:
                uris = documents_with_chunks(connection, kb.name, version, refused)
            raise ProviderRejected(
                f"{rejected} The texts it refused stand in {', '.join(uris[:NAMED_TEXTS])}, perhaps in others too. "
                "If they are too long, lower chunking.tokens; or leave these documents out."
            ) from rejected
        yield ids, vectors


def _refused(embedder: Embedder, texts: Sequence[str]) -> Iterator[int]:
    """Positions of the texts that the provider refuses; none where it refuses every request, as without access."""
    if _accepts(embedder, ["text"]):
        yield from _refused_within(embedder, texts, 0, len(texts))


def _refused_within(embedder: Embedder, texts: Sequence[str], start: int, end: int) -> Iterator[int]:
    if _accepts(embedder, texts[start:end]):
        return
    if end - start == 1:
        yield start
        return
    middle = (start + end) // 2
    yield from _refused_within(embedder, texts, start, middle)
    yield from _refused_within(embedder, texts, middle, end)


def _accepts(embedder: Embedder, texts: Sequence[str]) -> bool:
    try:
        embedder.embed_passages(texts)
    except ProviderRejected:
        return False
    return True
