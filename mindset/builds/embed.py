"""Embed: texts that the model has not seen get their vectors, once and for ever."""

from __future__ import annotations

from mindset.builds.progress import Progress, unwatched
from mindset.catalog.connection import Catalog
from mindset.catalog.embeddings import prepare_model, store_embeddings
from mindset.catalog.placements import chunks_without_vector, read_chunks
from mindset.embedding.protocol import Embedder
from mindset.embedding.registry import model_id
from mindset.knowledge_base import KnowledgeBase

# Seconds of work for a small model on a CPU; a kill loses no more than this.
BATCH_TEXTS = 2_000


def embed(
    catalog: Catalog,
    kb: KnowledgeBase,
    embedder: Embedder,
    version: int,
    *,
    shard: int = 0,
    shards: int = 1,
    progress: Progress = unwatched,
) -> int:
    """Embed this shard of the version's new texts, a batch a transaction; returns how many there were.

    Raises ProviderRejected, ProviderUnavailable; what was embedded before is kept."""
    model = model_id(kb.embedding)
    with catalog.writing() as connection:
        prepare_model(connection, model)
    with catalog.reading() as connection:
        due = chunks_without_vector(connection, kb.name, version, model, shard, shards)
    for start in range(0, len(due), BATCH_TEXTS):
        ids = due[start : start + BATCH_TEXTS]
        with catalog.reading() as connection:
            chunks = read_chunks(connection, kb.name, ids)
        vectors = embedder.embed_passages([each.embedded for each in chunks])
        with catalog.writing() as connection:
            store_embeddings(connection, model, ids, vectors)
        progress(start + len(ids), len(due))
    return len(due)
