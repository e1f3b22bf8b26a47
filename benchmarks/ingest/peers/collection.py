"""The Chroma collection of the other libraries, with the same settings for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import chromadb
from chromadb.config import Settings

from benchmarks.ingest.contestant import Task
from mindset.vector_index.http_client import basic_authentication

NAME = "peer"
DOCUMENT = "document"
"""Metadata key for the URI of a chunk's document."""

BATCH_DOCUMENTS = 300
"""Documents per batch: about 4,000 chunks. Chroma accepts 5,461 per call."""


def open_client(task: Task) -> Any:
    """Return Chroma's own client."""
    host, port = address(task)
    headers = dict(basic_authentication(task.chroma_url))
    return chromadb.HttpClient(host=host, port=port, headers=headers, settings=Settings(anonymized_telemetry=False))


def open_collection(task: Task) -> Any:
    """Return the collection; the first call creates it."""
    configuration: Any = {"hnsw": task.hnsw}
    return open_client(task).get_or_create_collection(NAME, configuration=configuration, embedding_function=None)


def address(task: Task) -> tuple[str, int]:
    """Return host and port of the server."""
    parts = urlsplit(task.chroma_url)
    assert parts.hostname and parts.port
    return parts.hostname, parts.port


def searchable(task: Task, uris: Sequence[str]) -> tuple[int, dict[str, list[str]]]:
    """Return the number of chunks in the collection, and the texts of those of these documents."""
    collection = open_collection(task)
    texts: dict[str, list[str]] = {uri: [] for uri in uris}
    if uris:
        rows = collection.get(where={DOCUMENT: {"$in": list(uris)}}, include=["documents", "metadatas"])
        for text, metadata in zip(rows["documents"], rows["metadatas"], strict=True):
            texts[metadata[DOCUMENT]].append(text)
    return collection.count(), texts
