"""The vector index on a Chroma server; the only module that talks to it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import orjson
from numpy.typing import NDArray

from mindset.errors import IndexDamaged, ServiceUnavailable
from mindset.vector_index.http_client import ConnectionLost, ConnectionPool, PendingRequest, Response

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from chromadb.api.models.Collection import Collection

Vectors = NDArray[np.float32]

# Measured by benchmarks/index_recall.py; docs/decisions/0007-hnsw-settings.md lists recall and cost.
HNSW: dict[str, Any] = {"space": "cosine", "max_neighbors": 32, "ef_construction": 200, "ef_search": 200}

# Chroma accepts at most 5,461 records per call.
BATCH = 5_000

# Vectors are read back as JSON, which takes ten times their size.
_COMPARE_BATCH = 1_000

# Cosine distance. Embedding a text again on a GPU in half precision changes its vector by about 1e-6.
_TOLERANCE = 1e-3

REMEDY = "`mindset maintain`, and the next night, rebuild it from Postgres."
"""How a damaged segment is repaired, for error messages."""

_PING_S = 2.0
_QUERY_S = 30.0

# Statuses of an overloaded server or of a proxy in front of it; they say nothing about a collection.
_BUSY = (429, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk and its cosine distance from the question (1 - cosine similarity; 0 is nearest)."""

    chunk_id: str
    distance: float


class PendingSearch:
    """A search in progress. Read its hits, or cancel it."""

    def __init__(self, index: ChromaIndex, collection: str, request: PendingRequest) -> None:
        self._index, self._collection, self._request = index, collection, request

    def hits(self, timeout_s: float | None = None) -> list[Hit]:
        """Return the nearest chunks, nearest first. Raises ServiceUnavailable, IndexDamaged."""
        return self._index.read_hits(self._collection, self._request, timeout_s)

    def cancel(self) -> None:
        """Stop waiting for the response."""
        self._request.cancel()


class ChromaIndex:
    """The collections of one Chroma server. Thread-safe.

    Every method raises ServiceUnavailable while the server is unreachable, and IndexDamaged if a collection is missing
    or unreadable."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._address = str(httpx.URL(url).copy_with(userinfo=b""))  # without a password, for messages
        self._handles: dict[str, Collection] = {}
        # Searches use Chroma's HTTP API directly: its client spends 2 ms of Python per query, twice the time of the search.
        self._connections = ConnectionPool(url)
        self._client_lock = threading.Lock()
        self._opened_client: ClientAPI | None = None

    def ping(self) -> None:
        """Raise ServiceUnavailable unless the server responds within two seconds. The first ping also loads the client."""
        with self._reachable(""):
            _ = self._client
            response = self._connections.send("GET", "/api/v2/heartbeat", None, _PING_S).read()
        if response.status != 200:
            raise self._busy(f"returned {response.status}")

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        self._handles.clear()
        self._connections.close()
        self._opened_client = None

    def write(self, collection: str, batches: Iterable[tuple[Sequence[str], Vectors]]) -> Iterator[int]:
        """Create a collection of these vectors. Yields the number written so far after each batch."""
        with self._reachable(collection):
            settings: Any = {"hnsw": HNSW}
            handle = self._client.create_collection(collection, configuration=settings, embedding_function=None)
        written = 0
        for chunks, vectors in batches:
            for start in range(0, len(chunks), BATCH):
                part = slice(start, start + BATCH)
                with self._reachable(collection):
                    handle.add(ids=list(chunks[part]), embeddings=vectors[part])
                written += len(chunks[part])
                yield written

    def check_members(self, collection: str, members: Iterable[Sequence[str]]) -> None:
        """Raise IndexDamaged unless the collection holds exactly these chunks, passed in batches without repetition."""
        expected = present = 0
        with self._reachable(collection):
            handle = self._handle(collection)
            for chunks in members:
                expected += len(chunks)
                present += len(handle.get(ids=list(chunks), include=[])["ids"])
            held = handle.count()
        # Ids are unique in a collection: if none is missing and the counts are equal, it contains nothing else.
        if held != expected or present != expected:
            raise IndexDamaged(
                f"Collection {collection} lacks {expected - present} of {expected} chunks "
                f"and holds {held - present} that do not belong to it. {REMEDY}"
            )

    def check_vectors(self, collection: str, batches: Iterable[tuple[Sequence[str], Vectors]]) -> None:
        """Raise IndexDamaged unless the collection holds these vectors for these chunks."""
        for chunks, vectors in batches:
            expected = dict(zip(chunks, vectors, strict=True))
            for start in range(0, len(chunks), _COMPARE_BATCH):
                part = list(chunks[start : start + _COMPARE_BATCH])
                with self._reachable(collection):
                    held = self._handle(collection).get(ids=part, include=["embeddings"])
                found: Any = held["embeddings"]
                wanted = np.array([expected[chunk] for chunk in held["ids"]], dtype=np.float32).reshape(
                    len(held["ids"]), -1
                )
                similarities = np.einsum("ij,ij->i", np.asarray(found, dtype=np.float32).reshape(wanted.shape), wanted)
                different = int(np.sum(~(similarities >= 1 - _TOLERANCE)))  # NaN counts as different
                if len(held["ids"]) < len(part) or different:
                    raise IndexDamaged(
                        f"Collection {collection} lacks {len(part) - len(held['ids'])} of {len(part)} chunks "
                        f"and holds {different} whose vectors differ from those in Postgres. {REMEDY}"
                    )

    def check_sample(self, collection: str, sample: tuple[Sequence[str], Vectors]) -> None:
        """Raise IndexDamaged unless each sampled vector finds itself, or an identical one, at rank 1."""
        for chunk_id, vector in zip(*sample, strict=True):
            nearest = self.search(collection, vector, 1)
            # Other texts may have the same vector: a distance of zero is as good as the same id.
            if not nearest or (nearest[0].chunk_id != chunk_id and nearest[0].distance > 1e-4):
                raise IndexDamaged(f"{collection} does not find chunk {chunk_id} by its own vector. {REMEDY}")

    def count(self, collection: str) -> int:
        """Return the number of vectors in a collection."""
        with self._reachable(collection):
            return self._handle(collection).count()

    def search(
        self, collection: str, vector: NDArray[np.float32], limit: int, timeout_s: float = _QUERY_S
    ) -> list[Hit]:
        """Return the nearest chunks of a collection, nearest first."""
        pending = self.start_search(collection, vector, limit, timeout_s)
        assert pending
        return pending.hits()

    def start_search(
        self,
        collection: str,
        vector: NDArray[np.float32],
        limit: int,
        timeout_s: float = _QUERY_S,
        *,
        only_if_connected: bool = False,
    ) -> PendingSearch | None:
        """Start a search whose hits are read later, so that the server searches while the caller does other work.

        With `only_if_connected`, return None if the collection's handle or a connection would have to be fetched first."""
        if only_if_connected and (collection not in self._handles or not self._connections.connected):
            return None
        with self._reachable(collection):
            handle = self._handle(collection)
            request = self._connections.send(
                "POST",
                f"/api/v2/tenants/{handle.tenant}/databases/{handle.database}/collections/{handle.id}/query",
                orjson.dumps(
                    {"query_embeddings": [vector], "n_results": limit, "include": ["distances"]},
                    option=orjson.OPT_SERIALIZE_NUMPY,
                ),
                timeout_s,
            )
        return PendingSearch(self, collection, request)

    def read_hits(self, collection: str, request: PendingRequest, timeout_s: float | None) -> list[Hit]:
        """Wait for the response to a search and return its hits; used by `PendingSearch.hits`."""
        with self._reachable(collection):
            response = request.read(timeout_s)
        found = self._good(response, collection)
        return [Hit(*pair) for pair in zip(found["ids"][0], found["distances"][0], strict=True)]

    def drop(self, collection: str) -> None:
        """Delete a collection if it exists."""
        from chromadb.errors import NotFoundError

        self._handles.pop(collection, None)
        with self._reachable(collection):
            try:
                self._client.delete_collection(collection)
            except NotFoundError:
                return

    def collections(self) -> set[str]:
        """Return the names of all collections on the server."""
        # Collections created meanwhile shift the pages, so a name can occur twice and must then count twice in the offset.
        names: list[str] = []
        with self._reachable(""):
            while page := self._client.list_collections(limit=500, offset=len(names)):
                names += [collection.name for collection in page]
        return set(names)

    def _good(self, response: Response, collection: str) -> Any:
        if response.status == 200:
            try:
                return orjson.loads(response.body)
            except orjson.JSONDecodeError:
                raise self._busy("returned invalid JSON") from None
        message = response.body[:300].decode(errors="replace")
        raise self._refused(collection, response.status, message)

    def _refused(self, collection: str, status: int, message: str) -> ServiceUnavailable | IndexDamaged:
        if status in _BUSY:
            return self._busy(f"returned {status}: {message}")
        return self._damaged(collection, f"{status} {message}")

    def _busy(self, why: str) -> ServiceUnavailable:
        return ServiceUnavailable(f"Chroma at {self._address} {why}. Try again shortly.")

    def _damaged(self, collection: str, why: object) -> IndexDamaged:
        # The handle may belong to a collection that has been rebuilt under another name.
        self._handles.pop(collection, None)
        return IndexDamaged(f"Chroma cannot use {collection or self._address}: {why}. {REMEDY}")

    @property
    def _client(self) -> ClientAPI:
        with self._client_lock:
            if self._opened_client is None:
                from mindset.vector_index.client import open_client  # importing chromadb takes 1.6 s

                self._opened_client = open_client(self._url)
            return self._opened_client

    def _handle(self, collection: str) -> Collection:
        """Return a collection's handle. Handles are cached, since collections never change and a lookup is a round trip."""
        handle = self._handles.get(collection)
        if handle is None:
            handle = self._client.get_collection(collection, embedding_function=None)
            self._handles[collection] = handle
        return handle

    @contextmanager
    def _reachable(self, collection: str) -> Iterator[None]:
        from chromadb.errors import ChromaError

        try:
            yield
        except (httpx.TransportError, *ConnectionLost) as lost:
            raise ServiceUnavailable(
                f"Chroma does not respond at {self._address}: {lost}. Start it, or correct MINDSET_CHROMA_URL."
            ) from lost
        except httpx.HTTPStatusError as refused:
            response = refused.response
            raise self._refused(collection, response.status_code, response.text[:300]) from refused
        except ChromaError as refused:
            raise self._damaged(collection, refused) from refused
