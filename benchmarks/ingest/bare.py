"""The lower bound: read, cut, embed and add in the largest batches, and remember nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from benchmarks.ingest.contestant import Task
from benchmarks.ingest.embedders import open_embedder
from mindset.chunking.chunk import Chunk
from mindset.chunking.chunker import cut_document
from mindset.index.chroma import BATCH
from mindset.index.client import open_client
from mindset.knowledge_base import Chunking
from mindset.parsing.formats import parse

_COLLECTION = "bare"


class Bare:
    """Vectors and ids alone: a search finds ids of texts that nobody has kept."""

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
            vectors = self._embedder.embed_passages([chunk.embedded for _, chunk in batch])
            collection.add(ids=[chunk.id for _, chunk in batch], embeddings=vectors, **texts)

    def searchable(self, uris: Sequence[str]) -> tuple[int, dict[str, list[str]]]:
        """Counted only: there is no second scenario."""
        return self._client.get_collection(_COLLECTION, embedding_function=None).count(), {uri: [] for uri in uris}

    def _chunks(self) -> Iterator[tuple[str, Chunk]]:
        for file in sorted(self._task.folder.rglob("*.md")):
            uri = file.relative_to(self._task.folder).as_posix()
            for chunk in _cut(uri, file.read_bytes()):
                yield uri, chunk


class BareWithTexts(Bare):
    """Texts and the name of their document in Chroma too, which is where the peers keep them."""

    texts_too = True


def _cut(uri: str, raw: bytes) -> Iterator[Chunk]:
    parsed = parse(uri, raw)
    return (placed.chunk for placed in cut_document(parsed.text, parsed.title, parsed.media_type, Chunking()))
