"""LlamaIndex: an IngestionPipeline with a document store, which has the documents of the previous run."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from llama_index.core import Document
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.vector_stores.chroma import ChromaVectorStore

from benchmarks.ingest import corpus
from benchmarks.ingest.contestant import Task
from benchmarks.ingest.embedders import open_embedder
from benchmarks.ingest.peers.collection import BATCH_DOCUMENTS, DOCUMENT, open_collection, searchable
from mindset.embedding.protocol import Embedder

# In tokens of its own tokenizer: about as many chunks as with the other libraries.
_CHUNK_TOKENS = 230
# The largest batch that it passes to an embedder.
_EMBEDDED_TEXTS = 2_048


class LlamaIndex:
    """Uses the `upserts` strategy in batches, since Chroma does not accept all documents at once.

    `upserts_and_delete` deletes every document that is not in the batch, so it needs all documents at once. Deletions
    are therefore made after the last batch, in the same way. The cache is off: the document store does the same work."""

    peak_bytes = None

    def __init__(self, task: Task) -> None:
        self._task = task
        splitter = SentenceSplitter(chunk_size=_CHUNK_TOKENS, chunk_overlap=0)
        splitter.split_text("Warm up. " * 1_000)
        self._transformations = [splitter, _Embedding(open_embedder(task.embedder))]
        self._store = ChromaVectorStore(chroma_collection=open_collection(task))

    def run(self) -> None:
        state = Path(self._task.state)
        pipeline = IngestionPipeline(
            transformations=self._transformations,
            vector_store=self._store,
            docstore=SimpleDocumentStore(),
            docstore_strategy=DocstoreStrategy.UPSERTS,
            disable_cache=True,
        )
        if any(state.iterdir()):
            pipeline.load(str(state))
        present: set[str] = set()
        documents = corpus.read(self._task.folder)
        while batch := [_document(uri, text) for uri, text in islice(documents, BATCH_DOCUMENTS)]:
            pipeline.run(documents=batch)
            present.update(document.id_ for document in batch)
        for removed in set(pipeline.docstore.get_all_document_hashes().values()) - present:
            pipeline.docstore.delete_document(removed)
            self._store.delete(removed)
        pipeline.persist(str(state))

    def searchable(self, uris: Sequence[str]) -> tuple[int, dict[str, list[str]]]:
        return searchable(self._task, uris)


class _Embedding(BaseEmbedding):
    _embedder: Any = PrivateAttr()

    def __init__(self, embedder: Embedder) -> None:
        super().__init__(model_name=str(embedder.model_id), embed_batch_size=_EMBEDDED_TEXTS)
        self._embedder = embedder

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self._embedder.embed_passages(texts).tolist()
        return vectors

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embeddings([query])[0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)


def _document(uri: str, text: str) -> Any:
    # Without the exclusion it would add the path to each text before embedding it.
    return Document(
        id_=uri,
        text=text,
        metadata={DOCUMENT: uri},
        excluded_embed_metadata_keys=[DOCUMENT],
        excluded_llm_metadata_keys=[DOCUMENT],
    )
