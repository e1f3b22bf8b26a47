"""LangChain: the `index` function, which stores the chunks of the previous run in a record manager."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from langchain_chroma import Chroma
from langchain_classic.indexes import SQLRecordManager, index
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_text_splitters import RecursiveCharacterTextSplitter

from benchmarks.ingest import corpus
from benchmarks.ingest.contestant import Task
from benchmarks.ingest.embedders import open_embedder
from benchmarks.ingest.peers.collection import DOCUMENT, NAME, open_client, open_collection, searchable
from mindset.embedding.protocol import Embedder

# About as many chunks as with the other libraries.
_CHUNK_CHARACTERS = 1_350
# Its documentation recommends "as big a batch size as possible"; Chroma accepts 5,461 per call.
_BATCH_CHUNKS = 5_000


class LangChain:
    """Uses the cleanup mode `full`, which deletes the chunks of removed documents and must see every chunk each time."""

    peak_bytes = None

    def __init__(self, task: Task) -> None:
        self._task = task
        open_collection(task)
        self._splitter = RecursiveCharacterTextSplitter(chunk_size=_CHUNK_CHARACTERS, chunk_overlap=0)
        self._store = Chroma(NAME, _Embeddings(open_embedder(task.embedder)), client=open_client(task))

    def run(self) -> None:
        records = SQLRecordManager("benchmark", db_url=f"sqlite:///{Path(self._task.state) / 'records.sqlite'}")
        records.create_schema()
        index(
            self._chunks(),
            records,
            self._store,
            cleanup="full",
            source_id_key=DOCUMENT,
            batch_size=_BATCH_CHUNKS,
            key_encoder="sha256",
        )

    def searchable(self, uris: Sequence[str]) -> tuple[int, dict[str, list[str]]]:
        return searchable(self._task, uris)

    def _chunks(self) -> Iterator[Any]:
        for uri, text in corpus.read(self._task.folder):
            for chunk in self._splitter.split_text(text):
                yield Document(page_content=chunk, metadata={DOCUMENT: uri})


class _Embeddings(Embeddings):
    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self._embedder.embed_passages(texts).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]
