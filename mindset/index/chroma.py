"""Chroma's server: the only module that speaks to it."""

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
from mindset.index.asking import Asking, Lost, Response, Server

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from chromadb.api.models.Collection import Collection

Vectors = NDArray[np.float32]

# Measured by benchmarks/index_recall.py; docs/decisions/0007-hnsw-settings.md has the figures and their cost.
HNSW: dict[str, Any] = {"space": "cosine", "max_neighbors": 32, "ef_construction": 200, "ef_search": 200}

# Chroma's own limit is 5,461 records a call.
BATCH = 5_000

# A page of vectors travels as JSON, ten times their size.
_COMPARED = 1_000

# Cosine distance: a text that was embedded again, on a GPU in half precision, differs by some 1e-6.
_TOLERANCE = 1e-3

REMEDY = "`mindset maintain`, and the next night, rebuild it from Postgres."
"""What to do about a damaged segment."""

_PING_S = 2.0
_QUERY_S = 30.0

# Of a server that is overloaded, or of the proxy before one that is away: they say nothing about a collection.
_BUSY = (429, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk near the question; distance is 1 - cosine, 0 the nearest."""

    chunk: str
    distance: float


class NearestAsked:
    """A question to a collection that is under way. Read it, or leave it."""

    def __init__(self, index: ChromaIndex, collection: str, asking: Asking) -> None:
        self._index, self._collection, self._asking = index, collection, asking

    def hits(self, timeout_s: float | None = None) -> list[Hit]:
        """The nearest chunks, nearest first. Raises ServiceUnavailable, IndexDamaged."""
        return self._index.read(self._collection, self._asking, timeout_s)

    def leave(self) -> None:
        """Give up on the answer."""
        self._asking.leave()


class ChromaIndex:
    """Collections on one Chroma server; thread-safe.

    Every method raises ServiceUnavailable while the server does not answer, and IndexDamaged where a collection is
    missing or cannot be read."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._handles: dict[str, Collection] = {}
        # Questions go to Chroma's HTTP API directly: its client spends 2 ms of Python a query, twice what the search takes.
        self._server = Server(url)
        self._connecting = threading.Lock()
        self._connected: ClientAPI | None = None

    def ping(self) -> None:
        """Raise ServiceUnavailable unless the server answers, within seconds; the first ping also loads the client."""
        with self._reachable(""):
            _ = self._client
            response = self._server.send("GET", "/api/v2/heartbeat", None, _PING_S).read()
        if response.status != 200:
            raise self._busy(f"answered {response.status}")

    def close(self) -> None:
        """Forget the connection; a later call opens a new one."""
        self._handles.clear()
        self._server.close()
        self._connected = None

    def write(self, collection: str, batches: Iterable[tuple[Sequence[str], Vectors]]) -> Iterator[int]:
        """Make a collection of these vectors; yields how many were written so far, after each batch."""
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
        """Raise IndexDamaged unless the collection holds exactly these chunks, given in batches without repetition."""
        expected = present = 0
        with self._reachable(collection):
            handle = self._handle(collection)
            for chunks in members:
                expected += len(chunks)
                present += len(handle.get(ids=list(chunks), include=[])["ids"])
            held = handle.count()
        # Ids are unique in a collection: with none missing and the same count there is nothing else in it.
        if held != expected or present != expected:
            raise IndexDamaged(
                f"{collection} misses {expected - present} of {expected} chunks "
                f"and holds {held - present} that are not its own. {REMEDY}"
            )

    def check_vectors(self, collection: str, batches: Iterable[tuple[Sequence[str], Vectors]]) -> None:
        """Raise IndexDamaged unless each of these chunks has this vector in the collection."""
        for chunks, vectors in batches:
            expected = dict(zip(chunks, vectors, strict=True))
            for start in range(0, len(chunks), _COMPARED):
                part = list(chunks[start : start + _COMPARED])
                with self._reachable(collection):
                    held = self._handle(collection).get(ids=part, include=["embeddings"])
                found: Any = held["embeddings"]
                wanted = np.array([expected[chunk] for chunk in held["ids"]], dtype=np.float32).reshape(
                    len(held["ids"]), -1
                )
                similarities = np.einsum("ij,ij->i", np.asarray(found, dtype=np.float32).reshape(wanted.shape), wanted)
                different = int(np.sum(~(similarities >= 1 - _TOLERANCE)))  # not a number is different, too
                if len(held["ids"]) < len(part) or different:
                    raise IndexDamaged(
                        f"{collection} misses {len(part) - len(held['ids'])} of {len(part)} chunks "
                        f"and holds {different} with another vector than Postgres. {REMEDY}"
                    )

    def check_sample(self, collection: str, sample: tuple[Sequence[str], Vectors]) -> None:
        """Raise IndexDamaged unless each sampled vector finds itself, or its equal, at rank 1."""
        for chunk, vector in zip(*sample, strict=True):
            nearest = self.search(collection, vector, 1)
            # Other texts may have the very same vector: a distance of zero is as good as the same id.
            if not nearest or (nearest[0].chunk != chunk and nearest[0].distance > 1e-4):
                raise IndexDamaged(f"{collection} does not find chunk {chunk} by its own vector. {REMEDY}")

    def count(self, collection: str) -> int:
        """How many vectors a collection holds."""
        with self._reachable(collection):
            return self._handle(collection).count()

    def search(
        self, collection: str, vector: NDArray[np.float32], limit: int, timeout_s: float = _QUERY_S
    ) -> list[Hit]:
        """The nearest chunks of a collection, nearest first."""
        asked = self.ask(collection, vector, limit, timeout_s)
        assert asked
        return asked.hits()

    def ask(
        self,
        collection: str,
        vector: NDArray[np.float32],
        limit: int,
        timeout_s: float = _QUERY_S,
        *,
        at_once: bool = False,
    ) -> NearestAsked | None:
        """Send the question for the nearest chunks, which `hits` reads: the server searches while other work is done.

        With `at_once`, None where something would be waited for: the collection's handle, or a connection."""
        if at_once and (collection not in self._handles or not self._server.connected):
            return None
        with self._reachable(collection):
            handle = self._handle(collection)
            asking = self._server.send(
                "POST",
                f"/api/v2/tenants/{handle.tenant}/databases/{handle.database}/collections/{handle.id}/query",
                orjson.dumps(
                    {"query_embeddings": [vector], "n_results": limit, "include": ["distances"]},
                    option=orjson.OPT_SERIALIZE_NUMPY,
                ),
                timeout_s,
            )
        return NearestAsked(self, collection, asking)

    def read(self, collection: str, asking: Asking, timeout_s: float | None) -> list[Hit]:
        """For `NearestAsked.hits`."""
        with self._reachable(collection):
            response = asking.read(timeout_s)
        found = self._good(response, collection)
        return [Hit(*each) for each in zip(found["ids"][0], found["distances"][0], strict=True)]

    def drop(self, collection: str) -> None:
        """Delete a collection; one that is not there is fine."""
        from chromadb.errors import NotFoundError

        self._handles.pop(collection, None)
        with self._reachable(collection):
            try:
                self._client.delete_collection(collection)
            except NotFoundError:
                return

    def collections(self) -> set[str]:
        """Names of all collections on the server."""
        names: list[str] = []  # what is made meanwhile moves the pages: a name that comes twice must count twice
        with self._reachable(""):
            while page := self._client.list_collections(limit=500, offset=len(names)):
                names += [each.name for each in page]
        return set(names)

    def _good(self, response: Response, collection: str) -> Any:
        if response.status == 200:
            try:
                return orjson.loads(response.body)
            except orjson.JSONDecodeError:
                raise self._busy("answered what is no JSON") from None
        message = response.body[:300].decode(errors="replace")
        raise self._refused(collection, response.status, message)

    def _refused(self, collection: str, status: int, message: str) -> ServiceUnavailable | IndexDamaged:
        if status in _BUSY:
            return self._busy(f"answered {status}: {message}")
        return self._damaged(collection, f"{status} {message}")

    def _busy(self, why: str) -> ServiceUnavailable:
        return ServiceUnavailable(f"Chroma at {self._url} {why}. Try again shortly.")

    def _damaged(self, collection: str, why: object) -> IndexDamaged:
        # The handle may be of a collection that was rebuilt under another name since.
        self._handles.pop(collection, None)
        return IndexDamaged(f"Chroma cannot use {collection or self._url}: {why}. {REMEDY}")

    @property
    def _client(self) -> ClientAPI:
        with self._connecting:
            if self._connected is None:
                from mindset.index.client import open_client  # 1.6 s: only where vectors are written or searched

                self._connected = open_client(self._url)
            return self._connected

    def _handle(self, collection: str) -> Collection:
        """Collections never change, so their handles are kept: finding one costs a round trip."""
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
        except (httpx.TransportError, *Lost) as lost:
            raise ServiceUnavailable(
                f"Chroma does not answer at {self._url}: {lost}. Start it, or correct MINDSET_CHROMA_URL."
            ) from lost
        except httpx.HTTPStatusError as refused:
            response = refused.response
            raise self._refused(collection, response.status_code, response.text[:300]) from refused
        except ChromaError as refused:
            raise self._damaged(collection, refused) from refused
