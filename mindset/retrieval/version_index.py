"""A version's chunks and words in memory: for full-text search, and to know which chunks a caller may read."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from weakref import WeakValueDictionary

import numpy as np
import structlog
from numpy.typing import NDArray

from mindset.catalog.filters import Filter
from mindset.catalog.pool import Catalog
from mindset.catalog.postings import analyze_segment, read_postings
from mindset.catalog.releases import VersionSnapshot
from mindset.catalog.version_chunks import version_chunks, visible_documents
from mindset.errors import IndexDamaged
from mindset.full_text.bm25 import ChunkTable, VisibleChunks
from mindset.full_text.postings import Postings
from mindset.text.words import WordAnalyzer, analyzer_named
from mindset.vector_index.chroma import REMEDY

_log = structlog.get_logger()

# Memory for the chunks that different callers may read; each takes nine bytes a chunk.
_VISIBLE_CACHE_BYTES = 256_000_000


class VersionIndex:
    """The chunks of one version with their words and documents. Thread-safe."""

    def __init__(
        self, kb: str, version: int, analyzer: WordAnalyzer, table: ChunkTable, chunks: Mapping[str, NDArray[np.bytes_]]
    ) -> None:
        self.analyzer = analyzer
        self._kb, self._version, self._table = kb, version, table
        self._documents = {uri: table.numbers(chunk_ids) for uri, chunk_ids in chunks.items()}
        self._visible: OrderedDict[tuple[object, ...], VisibleChunks] = OrderedDict()
        self._max_visible = max(8, _VISIBLE_CACHE_BYTES // (9 * max(len(table), 1)))
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Memory in bytes, roughly."""
        return sum(segment.size for segment in self._table.segments) + 60 * len(self._table)

    def visible(
        self, catalog: Catalog, principals: Sequence[str], where: Filter | None, rights_epoch: int, timeout_s: float
    ) -> VisibleChunks:
        """Return the chunks that the principals may read and whose documents match the filter.

        They are kept until the knowledge base's rights change. Raises ServiceUnavailable."""
        key = (rights_epoch, tuple(principals), where.model_dump_json() if where else None)
        with self._lock:
            if key in self._visible:
                self._visible.move_to_end(key)
                return self._visible[key]
        uris = catalog.read_once(
            lambda connection: visible_documents(connection, self._kb, self._version, principals, where), timeout_s
        )
        mask = np.zeros(len(self._table), dtype=np.bool_)
        for uri in uris:
            mask[self._documents[uri]] = True
        visible = VisibleChunks(self._table, mask)
        with self._lock:
            self._visible[key] = visible
            while len(self._visible) > self._max_visible:
                self._visible.popitem(last=False)
        return visible


class VersionIndexes:
    """The version indexes of a process, loaded at their first use. Thread-safe. Close it with `close`."""

    def __init__(self, catalog: Catalog, max_bytes: int) -> None:
        self._catalog, self._max_bytes = catalog, max_bytes
        self._lock = threading.Lock()
        self._loading: OrderedDict[tuple[object, ...], Future[VersionIndex]] = OrderedDict()
        self._postings: WeakValueDictionary[tuple[int, str], Postings] = WeakValueDictionary()
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="version index")

    def close(self) -> None:
        """Stop the threads."""
        self._threads.shutdown(cancel_futures=True)

    def get(self, kb: str, snapshot: VersionSnapshot, timeout_s: float | None) -> VersionIndex:
        """Return the index of a version; `timeout_s` limits the wait until it is loaded, which goes on in any case.

        Raises the `TimeoutError` of futures, ConfigurationError, ServiceUnavailable, and IndexDamaged if maintenance has
        replaced segments of the snapshot."""
        analyzer = analyzer_named(snapshot.ranking.analysis)
        segments = tuple(segment.id for segment in snapshot.segments)
        key = (kb, snapshot.version, segments, analyzer.name)
        with self._lock:
            future = self._loading.get(key)
            is_new = future is None or (future.done() and (future.cancelled() or future.exception()))
            if future is None or is_new:
                future = self._threads.submit(self._load, kb, snapshot.version, segments, analyzer)
                self._loading[key] = future
            self._loading.move_to_end(key)
        if is_new:
            # Outside of the lock: if the index is loaded already, the callback is called right here.
            future.add_done_callback(lambda _: self._evict())
        return future.result(timeout_s)

    def _load(self, kb: str, version: int, segments: Sequence[int], analyzer: WordAnalyzer) -> VersionIndex:
        table = ChunkTable([self._segment(segment, analyzer) for segment in segments])
        with self._catalog.reading() as connection:
            chunks = dict(version_chunks(connection, kb, version))
        missing = sum(int(np.count_nonzero(table.numbers(chunk_ids) < 0)) for chunk_ids in chunks.values())
        if missing:
            # A segment was dropped while it was read, because maintenance replaced it.
            raise IndexDamaged(f"The segments of version {version} of {kb} lack {missing} of its chunks. {REMEDY}")
        return VersionIndex(kb, version, analyzer, table, chunks)

    def _segment(self, segment: int, analyzer: WordAnalyzer) -> Postings:
        """Return a segment's postings, which versions share."""
        postings = self._postings.get((segment, analyzer.name))
        if postings is None:
            with self._catalog.reading() as connection:
                postings = read_postings(connection, segment, analyzer.name)
            if postings is None:
                # Built by an earlier release: the next night stores them.
                _log.info("building the postings of a segment", segment=segment, analysis=analyzer.name)
                postings = analyze_segment(self._catalog, segment, analyzer)
            self._postings[segment, analyzer.name] = postings
        return postings

    def _evict(self) -> None:
        """Forget the indexes that were not used for longest, until the others fit. The last one used is always kept."""
        with self._lock:
            loaded = {
                key: future.result().size
                for key, future in self._loading.items()
                if future.done() and not future.cancelled() and not future.exception()
            }
            for key in list(loaded)[:-1]:
                if sum(loaded.values()) <= self._max_bytes:
                    break
                del loaded[key], self._loading[key]
