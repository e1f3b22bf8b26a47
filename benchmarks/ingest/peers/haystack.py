"""Haystack: an indexing pipeline of splitter, embedder and writer that skips existing documents."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"  # read at import

from haystack import Document, Pipeline, component
from haystack.components.preprocessors import DocumentSplitter
from haystack.components.writers import DocumentWriter
from haystack.document_stores.types import DuplicatePolicy
from haystack_integrations.document_stores.chroma import ChromaDocumentStore

from benchmarks.ingest import corpus
from benchmarks.ingest.contestant import Task
from benchmarks.ingest.embedders import open_embedder
from benchmarks.ingest.peers.collection import BATCH_DOCUMENTS, DOCUMENT, NAME, address, open_collection, searchable
from mindset.embedding.protocol import Embedder

# About as many chunks as with the other libraries.
_CHUNK_WORDS = 172


class Haystack:
    """Uses `SKIP`, the cheapest policy: it writes new chunks, deletes nothing, and embeds everything each time.

    A document's id is its URI. The ids of its chunks are hashes that include it, and so stay the same."""

    peak_bytes = None

    def __init__(self, task: Task) -> None:
        self._task = task
        open_collection(task)  # its store cannot set all HNSW settings, but uses an existing collection
        host, port = task.chroma_url.rpartition(":")[0], address(task)[1]  # with user and password
        store = ChromaDocumentStore(
            NAME, host=host, port=port, distance_function="cosine", client_settings={"anonymized_telemetry": False}
        )
        store.count_documents()
        splitter = DocumentSplitter(split_by="word", split_length=_CHUNK_WORDS, split_overlap=0)
        splitter.warm_up()
        self._pipeline = Pipeline()
        self._pipeline.add_component("split", splitter)
        self._pipeline.add_component("embed", _Embed(open_embedder(task.embedder)))
        self._pipeline.add_component("write", DocumentWriter(store, policy=DuplicatePolicy.SKIP))
        self._pipeline.connect("split.documents", "embed.documents")
        self._pipeline.connect("embed.documents", "write.documents")

    def run(self) -> None:
        documents = corpus.read(self._task.folder)
        while batch := [
            Document(id=uri, content=text, meta={DOCUMENT: uri}) for uri, text in islice(documents, BATCH_DOCUMENTS)
        ]:
            self._pipeline.run({"split": {"documents": batch}})

    def searchable(self, uris: Sequence[str]) -> tuple[int, dict[str, list[str]]]:
        return searchable(self._task, uris)


@component
class _Embed:
    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document]) -> dict[str, Any]:
        vectors = self._embedder.embed_passages([document.content or "" for document in documents]).tolist()
        embedded = [replace(document, embedding=vector) for document, vector in zip(documents, vectors, strict=True)]
        return {"documents": embedded}
