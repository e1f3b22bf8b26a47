"""The Chroma collection of a peer: the same settings for all, and what a search can return from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import chromadb
from chromadb.config import Settings

from benchmarks.ingest.contestant import Task

NAME = "peer"
DOCUMENT = "document"
"""Key of a chunk's metadata: the URI of its document."""

BATCH_DOCUMENTS = 300
"""How many documents are given to a peer at a time: about 4,000 chunks, of which Chroma takes 5,461 a call."""


def open_client(task: Task) -> Any:
    """Chroma's own client."""
    host, port = address(task)
    return chromadb.HttpClient(host=host, port=port, settings=Settings(anonymized_telemetry=False))


def open_collection(task: Task) -> Any:
    """The collection; the first call makes it."""
    configuration: Any = {"hnsw": task.hnsw}
    return open_client(task).get_or_create_collection(NAME, configuration=configuration, embedding_function=None)


def address(task: Task) -> tuple[str, int]:
    """Host and port of the server."""
    parts = urlsplit(task.chroma_url)
    assert parts.hostname and parts.port
    return parts.hostname, parts.port


def searchable(task: Task, uris: Sequence[str]) -> tuple[int, dict[str, list[str]]]:
    """How many chunks the collection holds, and the texts of those of these documents."""
    collection = open_collection(task)
    texts: dict[str, list[str]] = {uri: [] for uri in uris}
    if uris:
        found = collection.get(where={DOCUMENT: {"$in": list(uris)}}, include=["documents", "metadatas"])
        for text, metadata in zip(found["documents"], found["metadatas"], strict=True):
            texts[metadata[DOCUMENT]].append(text)
    return collection.count(), texts
