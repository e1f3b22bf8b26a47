"""Dense search: the chunks whose vectors are nearest to the question's, among those that the caller may read."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
from numpy.typing import NDArray

from mindset.catalog.passages import visible_passages
from mindset.catalog.pool import Catalog
from mindset.catalog.releases import VersionSnapshot
from mindset.embedding.protocol import Embedder, ModelId
from mindset.embedding.registry import EmbedderRegistry
from mindset.errors import DimensionMismatch, IndexDamaged, ServiceUnavailable
from mindset.full_text.bm25 import VisibleChunks
from mindset.providers.deadline import Deadline
from mindset.retrieval.background_cache import BackgroundCache
from mindset.retrieval.exact import exact_search
from mindset.retrieval.search_request import Ranking, SearchRequest, cosine_scores
from mindset.tracing import span
from mindset.vector_index.chroma import ChromaIndex, PendingSearch

Vector = NDArray[np.float32]

# A response that has already arrived is read even if the full-text search has used up all the time.
_MIN_READ_S = 0.05

# The index cannot filter, so it is asked for more chunks than needed, at most this many.
_MAX_PROPOSED = 10_000

# If it would have to propose more than this, and the caller may read at most so many chunks, all of them are compared with the
# question instead, which is faster then.
_FEW_PROPOSED, _FEW_VISIBLE = 3_000, 20_000

# The chunks that a caller may read are not spread evenly over the nearest ones.
_RESERVE = 1.5

_LOADERS, _MAX_MODELS = 8, 100


class DenseSearch:
    """Dense search over the segments of one Chroma server. Thread-safe. Close it with `close`."""

    def __init__(
        self,
        catalog: Catalog,
        index: ChromaIndex,
        embedders: EmbedderRegistry,
        snapshot_of: Callable[[str, int, float], VersionSnapshot],
        threads: int,
    ) -> None:
        self._catalog, self._index, self._embedders, self._snapshot_of = catalog, index, embedders, snapshot_of
        # For remote models. A late step keeps its thread until it ends; full-text search needs none of these threads.
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="dense")
        # For models that are being loaded, which takes long: questions to other models must not wait for these threads.
        self._loaders = ThreadPoolExecutor(_LOADERS, thread_name_prefix="model")
        self._models = BackgroundCache[ModelId, Embedder](self._loaders, lambda _: 1, _MAX_MODELS, _MAX_MODELS)

    def close(self) -> None:
        """Stop the threads."""
        self._threads.shutdown(cancel_futures=True)
        self._loaders.shutdown(wait=False, cancel_futures=True)

    def start(self, request: SearchRequest, visible: VisibleChunks | None, cleanup: ExitStack) -> Callable[[], Ranking]:
        """Embed the question and query all segments. `cleanup` cancels requests whose responses were not read.

        `visible` is None if it is not known which chunks the caller may read; then any are returned.

        Returns a function that waits for the ranking, at most until the request's deadline. A model that embeds instantly
        and a server with open connections are called right here, since nothing blocks. Everything else runs in a thread,
        so that full-text search and the deadline do not wait for it."""
        started = time.perf_counter()
        embedder = self._embedders.get_if_open(request.model)
        proposed = _proposed(request, visible)
        if proposed and embedder and getattr(embedder, "is_instant", False):
            vector = embedder.embed_query(request.question)
            pending = self._query(request.snapshot, vector, proposed, request.deadline, only_if_connected=True)
            if pending is not None:
                for search in pending:
                    cleanup.callback(search.cancel)
                return lambda: _ranking(self._rank(request, visible, vector, proposed, lambda: pending), started)
        if embedder is not None:
            return self._submit(request, visible, proposed, embedder, cleanup)

        def wait_for_the_model() -> Ranking:
            loaded = self._models.get(request.model, lambda: self._embedders.get(request.model), request.seconds_left())
            return self._submit(request, visible, proposed, loaded, cleanup)()

        return wait_for_the_model

    def _submit(
        self,
        request: SearchRequest,
        visible: VisibleChunks | None,
        proposed: int,
        embedder: Embedder,
        cleanup: ExitStack,
    ) -> Callable[[], Ranking]:
        future = self._threads.submit(self._run, request, visible, proposed, embedder)
        cleanup.callback(future.cancel)
        return lambda: future.result(timeout=max(0.0, request.seconds_left()))

    def nearest(self, snapshot: VersionSnapshot, vector: Vector, candidates: int, deadline: float) -> dict[str, float]:
        """Return the similarities of the nearest chunks over all segments, nearest first.

        `deadline` is in seconds of `time.perf_counter`.

        Raises ServiceUnavailable, IndexDamaged, DimensionMismatch."""
        return _merge(self._query_all(snapshot, vector, candidates, deadline), candidates, deadline)

    def _run(self, request: SearchRequest, visible: VisibleChunks | None, proposed: int, embedder: Embedder) -> Ranking:
        started = time.perf_counter()
        request.check_deadline()
        vector = embedder.embed_query(request.question, Deadline(max(request.seconds_left(), 0.001)))
        scores = self._rank(
            request, visible, vector, proposed,
            lambda: self._query_all(request.snapshot, vector, proposed, request.deadline),
        )  # fmt: skip
        return _ranking(scores, started)

    @span("retrieval.dense")
    def _rank(
        self,
        request: SearchRequest,
        visible: VisibleChunks | None,
        vector: Vector,
        proposed: int,
        query: Callable[[], Sequence[PendingSearch]],
    ) -> Mapping[str, float]:
        """Return the similarities of the nearest readable chunks: those that the index proposes, if they are enough.

        If it is not known which ones those are, return the nearest chunks, or compare all readable ones if most of these
        are not."""
        if proposed:
            nearest = self._read(request, vector, proposed, query)
            if visible is None:
                if not self._reads_little(request, list(nearest)):
                    return nearest
                return exact_search(self._catalog, request, vector).scores
            wanted = min(request.candidates, visible.count)
            readable = [
                (chunk_id, nearest[chunk_id])
                for chunk_id, ok in zip(nearest, visible.contains(list(nearest)), strict=True)
                if ok
            ]
            if len(readable) >= wanted:
                return dict(readable[:wanted])
        return exact_search(self._catalog, request, vector).scores

    def _reads_little(self, request: SearchRequest, chunk_ids: Sequence[str]) -> bool:
        """Return whether the caller may read less than half of the chunks."""
        passages = self._catalog.read_once(
            lambda connection: visible_passages(
                connection, request.kb.name, request.snapshot.version, request.principals, chunk_ids, len(chunk_ids),
                request.where,
            ),
            request.seconds_left(),
        )  # fmt: skip
        return len({passage.chunk_id for passage in passages}) < len(chunk_ids) / 2

    def _read(
        self, request: SearchRequest, vector: Vector, proposed: int, query: Callable[[], Sequence[PendingSearch]]
    ) -> dict[str, float]:
        """Read the version's segments. If maintenance replaced them meanwhile, query their replacements."""
        try:
            return _merge(query(), proposed, request.deadline)
        except IndexDamaged:
            # Replaced segments are dropped at once, which looks like damage.
            current = self._snapshot_of(request.kb.name, request.snapshot.version, request.seconds_left())
            if current.segments == request.snapshot.segments:
                raise
            return self.nearest(current, vector, proposed, request.deadline)

    def _query_all(
        self, snapshot: VersionSnapshot, vector: Vector, candidates: int, deadline: float
    ) -> list[PendingSearch]:
        pending = self._query(snapshot, vector, candidates, deadline)
        assert pending is not None
        return pending

    def _query(
        self,
        snapshot: VersionSnapshot,
        vector: Vector,
        candidates: int,
        deadline: float,
        *,
        only_if_connected: bool = False,
    ) -> list[PendingSearch] | None:
        """Query all segments at the same time.

        With `only_if_connected`, return None if that would require a new connection."""
        for segment in snapshot.segments:
            if segment.dimension != len(vector):
                raise DimensionMismatch(
                    f"Segment {segment.collection} has {segment.dimension} dimensions, but the question's vector has "
                    f"{len(vector)}. Rebuild the version, or configure the model that it was built with."
                )
        seconds_left = deadline - time.perf_counter()
        if seconds_left <= 0:
            raise ServiceUnavailable("Embedding the question used up all the time. Raise retrieval.deadline_s.")
        pending: list[PendingSearch] = []
        with ExitStack() as cleanup:
            for segment in snapshot.segments:
                search = self._index.start_search(
                    segment.collection, vector, min(candidates, segment.count), seconds_left,
                    only_if_connected=only_if_connected,
                )  # fmt: skip
                if search is None:
                    return None
                pending.append(search)
                cleanup.callback(search.cancel)
            cleanup.pop_all()
        return pending


def _proposed(request: SearchRequest, visible: VisibleChunks | None) -> int:
    """Return how many chunks the index has to propose for the wanted number to be readable; 0: compare all instead."""
    if visible is None or visible.is_all:
        return request.candidates
    total = len(visible.table)
    proposed = math.ceil(_RESERVE * request.candidates * total / max(visible.count, 1))
    few = visible.count <= _FEW_VISIBLE and proposed > _FEW_PROPOSED
    return 0 if few or proposed > _MAX_PROPOSED else proposed


def _ranking(scores: Mapping[str, float], started: float) -> Ranking:
    return Ranking(scores, (time.perf_counter() - started) * 1000)


def _merge(pending: Sequence[PendingSearch], candidates: int, deadline: float) -> dict[str, float]:
    """Return the similarities of the nearest chunks of all responses. A chunk is in one segment only, so merging is sorting."""
    with ExitStack() as cleanup:
        for search in pending:
            cleanup.callback(search.cancel)
        hits = [hit for search in pending for hit in search.hits(max(deadline - time.perf_counter(), _MIN_READ_S))]
    hits.sort(key=lambda hit: (hit.distance, hit.chunk_id))
    return cosine_scores((hit.chunk_id, 1 - hit.distance) for hit in hits[:candidates])
