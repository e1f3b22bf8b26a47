"""Dense search: the chunks whose vectors are nearest to the question's, over all segments of a version."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mindset.catalog.releases import VersionSnapshot
from mindset.embedding.registry import EmbedderRegistry
from mindset.errors import DimensionMismatch, IndexDamaged, ServiceUnavailable
from mindset.retrieval.search_request import Ranking, SearchRequest
from mindset.tracing import span
from mindset.vector_index.chroma import ChromaIndex, PendingSearch

Vector = NDArray[np.float32]

# A response that has already arrived is read even if the full-text search has used up all the time.
_MIN_READ_S = 0.05


@dataclass
class DenseStep:
    """A dense search in progress."""

    ranking: Callable[[], Ranking] = field(init=False)
    """Waits for the ranking, at most until the request's deadline. Call it once."""
    vector: Vector | None = None
    """The question's vector, once it is embedded."""


class DenseSearch:
    """Dense search over the segments of one Chroma server. Thread-safe. Close it with `close`."""

    def __init__(
        self,
        index: ChromaIndex,
        embedders: EmbedderRegistry,
        snapshot_of: Callable[[str, int], VersionSnapshot],
        threads: int,
    ) -> None:
        self._index, self._embedders, self._snapshot_of = index, embedders, snapshot_of
        # For remote models. A late step keeps its thread until it ends; full-text search needs none of these threads.
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="dense")

    def close(self) -> None:
        """Stop the threads."""
        self._threads.shutdown(cancel_futures=True)

    def start(self, request: SearchRequest, cleanup: ExitStack) -> DenseStep:
        """Embed the question and query all segments. `cleanup` cancels requests whose responses were not read.

        A model that embeds instantly and a server with open connections are called right here, since nothing blocks.
        Everything else runs in a thread, so that full-text search and the deadline do not wait for it."""
        started = time.perf_counter()
        step = DenseStep()
        embedder = self._embedders.get_if_open(request.model)
        if embedder and getattr(embedder, "is_instant", False):
            vector = step.vector = embedder.embed_query(request.question)
            pending = self._query(
                request.snapshot, vector, request.candidates, request.deadline, only_if_connected=True
            )
            if pending is not None:
                for search in pending:
                    cleanup.callback(search.cancel)
                step.ranking = lambda: _ranking(self._read(request, vector, lambda: pending), started)
                return step
        future = self._threads.submit(self._run, request, step)
        cleanup.callback(future.cancel)
        step.ranking = lambda: future.result(timeout=max(0.0, request.seconds_left()))
        return step

    def nearest(self, snapshot: VersionSnapshot, vector: Vector, candidates: int, deadline: float) -> list[str]:
        """Return the nearest chunks over all segments, before `deadline` in seconds of `time.perf_counter`.

        Raises ServiceUnavailable, IndexDamaged, DimensionMismatch."""
        return _merge(self._query_all(snapshot, vector, candidates, deadline), candidates, deadline)

    def _run(self, request: SearchRequest, step: DenseStep) -> Ranking:
        started = time.perf_counter()
        vector = step.vector = self._embedders.get(request.model).embed_query(request.question)
        chunk_ids = self._read(
            request, vector, lambda: self._query_all(request.snapshot, vector, request.candidates, request.deadline)
        )
        return _ranking(chunk_ids, started)

    @span("retrieval.dense")
    def _read(self, request: SearchRequest, vector: Vector, query: Callable[[], Sequence[PendingSearch]]) -> list[str]:
        """Read the version's segments. If maintenance replaced them meanwhile, query their replacements."""
        try:
            return _merge(query(), request.candidates, request.deadline)
        except IndexDamaged:
            # Replaced segments are dropped at once, which looks like damage.
            current = self._snapshot_of(request.kb.name, request.snapshot.version)
            if current.segments == request.snapshot.segments:
                raise
            return self.nearest(current, vector, request.candidates, request.deadline)

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


def _ranking(chunk_ids: list[str], started: float) -> Ranking:
    return Ranking(chunk_ids, (time.perf_counter() - started) * 1000)


def _merge(pending: Sequence[PendingSearch], candidates: int, deadline: float) -> list[str]:
    """Return the nearest chunks of all responses. A chunk is in one segment only, so merging is sorting."""
    with ExitStack() as cleanup:
        for search in pending:
            cleanup.callback(search.cancel)
        hits = [hit for search in pending for hit in search.hits(max(deadline - time.perf_counter(), _MIN_READ_S))]
    if len(pending) > 1:
        hits.sort(key=lambda hit: (hit.distance, hit.chunk_id))
    return [hit.chunk_id for hit in hits[:candidates]]
