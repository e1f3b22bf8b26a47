"""The lower bound: read, chunk, embed and add in the largest batches, without any state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from benchmarks.ingest.contestant import Task
from benchmarks.ingest.embedders import open_embedder
from mindset.chunking.chunk import Chunk
from mindset.chunking.chunker import chunk_document
from mindset.config.build_options import Chunking
from mindset.parsing.registry import parse
from mindset.vector_index.chroma import BATCH
from mindset.vector_index.client import open_client

_COLLECTION = "bare"


class Bare:
    """Stores vectors and ids only: a search returns ids whose texts are not stored anywhere."""

    peak_bytes = None
    texts_too = False

    def __init__(self, task: Task) -> None:
        self._task = task
        self._embedder = open_embedder(task.embedder)
        self._client = open_client(task.chroma_url)
        self._client.heartbeat()
        list(_cut("warm-up.md", b"# Warm up\n\nA sentence.\n"))

    def run(self) -> None:
        configuration: Any = {"hnsw": self._task.hnsw}
        collection = self._client.create_collection(_COLLECTION, configuration=configuration, embedding_function=None)
        chunks = self._chunks()
        while batch := list(islice(chunks, BATCH)):
            texts: dict[str, Any] = {}
            if self.texts_too:
                texts = {
                    "documents": [chunk.text for _, chunk in batch],
                    "metadatas": [{"document": uri, "context": chunk.context} for uri, chunk in batch],
                }
            vectors = self._embedder.embed_passages([chunk.embedding_text for _, chunk in batch])
            collection.add(ids=[chunk.id for _, chunk in batch], embeddings=vectors, **texts)

    def searchable(self, uris: Sequence[str]) -> tuple[int, dict[str, list[str]]]:
        """Count the chunks; texts are not needed, since there is no second scenario."""
        return self._client.get_collection(_COLLECTION, embedding_function=None).count(), {uri: [] for uri in uris}

    def _chunks(self) -> Iterator[tuple[str, Chunk]]:
        for file in sorted(self._task.folder.rglob("*.md")):
            uri = file.relative_to(self._task.folder).as_posix()
            for chunk in _cut(uri, file.read_bytes()):
                yield uri, chunk


class BareWithTexts(Bare):
    """Stores texts and document URIs in Chroma too, as the other libraries do."""

    texts_too = True


def _cut(uri: str, raw: bytes) -> Iterator[Chunk]:
    parsed = parse(uri, raw)
    return (placed.chunk for placed in chunk_document(parsed.text, parsed.title, parsed.media_type, Chunking()))
