"""A version's chunks and words in memory: for full-text search, and to know which chunks a caller may read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from weakref import WeakValueDictionary

import numpy as np
import structlog
from numpy.typing import NDArray

from mindset.catalog.filters import Filter
from mindset.catalog.pool import Catalog
from mindset.catalog.postings import analyze_segment, read_postings
from mindset.catalog.releases import VersionSnapshot
from mindset.catalog.version_chunks import version_chunks, visible_documents
from mindset.errors import IndexDamaged, MindsetError
from mindset.full_text.bm25 import ChunkTable, VisibleChunks
from mindset.full_text.postings import Postings
from mindset.retrieval.background_cache import BackgroundCache
from mindset.text.words import WordAnalyzer, analyzer_named
from mindset.vector_index.chroma import REMEDY

_log = structlog.get_logger()

# For the chunks that different callers may read; each takes nine bytes a chunk.
_VISIBLE_BYTES, _MAX_VISIBLE = 256_000_000, 10_000
_MAX_INDEXES = 1_000

# What an entry of the cache takes besides its arrays.
_OVERHEAD_BYTES = 2_000

# A question of a caller who was not there before reads all documents of the version; few at a time, so that they cannot take
# all connections to Postgres.
_THREADS = 4

# For each statement that reads a version; a server that stopped to reply must not take the threads for ever.
_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class _IndexKey:
    kb: str
    version: int
    analysis: str
    segments: tuple[int, ...]


@dataclass(frozen=True)
class VersionIndex:
    """The chunks of one version with their words, and the numbers of each document's chunks."""

    key: _IndexKey
    analyzer: WordAnalyzer
    table: ChunkTable
    documents: Mapping[str, NDArray[np.int64]]

    def chunks_of(self, uri: str) -> int:
        """Return the number of chunks of a document; 0 if the version does not contain it."""
        return len(self.documents.get(uri, ()))

    @property
    def size(self) -> int:
        """Memory in bytes, roughly."""
        return sum(segment.size for segment in self.table.segments) + 60 * len(self.table) + _OVERHEAD_BYTES


class VersionIndexes:
    """The version indexes of a process, loaded at their first use. Thread-safe. Close it with `close`."""

    def __init__(self, catalog: Catalog, max_bytes: int) -> None:
        self._catalog = catalog
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="version index")
        self._indexes = BackgroundCache[_IndexKey, VersionIndex](
            self._threads, lambda index: index.size, max_bytes, _MAX_INDEXES
        )
        self._visible = BackgroundCache[tuple[_IndexKey, bytes], VisibleChunks](
            self._threads, lambda visible: 9 * len(visible.mask) + _OVERHEAD_BYTES, _VISIBLE_BYTES, _MAX_VISIBLE
        )
        self._postings: WeakValueDictionary[tuple[int, str], Postings] = WeakValueDictionary()
        self._newest: dict[tuple[str, int, str], _IndexKey] = {}

    def close(self) -> None:
        """Stop the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def get(self, kb: str, snapshot: VersionSnapshot, timeout_s: float | None) -> VersionIndex:
        """Return the index of a version; `timeout_s` limits the wait until it is loaded, which goes on in any case.

        After maintenance has merged the version's segments, the index over the previous ones is returned until the new one
        is loaded: it has the same chunks. Raises the TimeoutError of futures, ConfigurationError, ServiceUnavailable, and
        IndexDamaged if maintenance has replaced segments of the snapshot."""
        analyzer = analyzer_named(snapshot.ranking.analysis)
        key = _IndexKey(kb, snapshot.version, analyzer.name, tuple(segment.id for segment in snapshot.segments))
        newest = self._newest.get((kb, snapshot.version, analyzer.name))
        previous = self._indexes.get_if_computed(newest) if newest and newest != key else None
        try:
            index = self._indexes.get(key, lambda: self._load(key, analyzer), 0 if previous else timeout_s)
        except (TimeoutError, MindsetError):
            if previous is None:
                raise
            return previous
        self._newest[kb, snapshot.version, analyzer.name] = key
        return index

    def visible(
        self,
        index: VersionIndex,
        principals: Sequence[str],
        where: Filter | None,
        rights_epoch: int,
        timeout_s: float,
    ) -> VisibleChunks:
        """Return the chunks that the principals may read and whose documents match the filter.

        They are kept until the knowledge base's rights change. `timeout_s` limits the wait; finding them goes on. Raises the
        TimeoutError of futures, ServiceUnavailable."""
        caller = f"{rights_epoch} {sorted(principals)} {where.model_dump_json() if where else ''}"
        key = (index.key, hashlib.blake2b(caller.encode(), digest_size=16).digest())
        return self._visible.get(key, lambda: self._find_visible(index, principals, where), timeout_s)

    def _find_visible(self, index: VersionIndex, principals: Sequence[str], where: Filter | None) -> VisibleChunks:
        with self._catalog.reading(_TIMEOUT_S) as connection:
            uris = visible_documents(connection, index.key.kb, index.key.version, principals, where)
        mask = np.zeros(len(index.table), dtype=np.bool_)
        for uri in uris:
            mask[index.documents[uri]] = True
        return VisibleChunks(index.table, mask)

    def _load(self, key: _IndexKey, analyzer: WordAnalyzer) -> VersionIndex:
        table = ChunkTable([self._segment(segment, analyzer) for segment in key.segments])
        with self._catalog.reading(_TIMEOUT_S) as connection:
            chunks = dict(version_chunks(connection, key.kb, key.version))
        documents = {uri: table.numbers(chunk_ids) for uri, chunk_ids in chunks.items()}
        missing = sum(int(np.count_nonzero(numbers < 0)) for numbers in documents.values())
        if missing:
            # A segment was dropped while it was read, because maintenance replaced it.
            raise IndexDamaged(
                f"The segments of version {key.version} of {key.kb} lack {missing} of its chunks. {REMEDY}"
            )
        return VersionIndex(key, analyzer, table, documents)

    def _segment(self, segment: int, analyzer: WordAnalyzer) -> Postings:
        """Return a segment's postings, which versions share."""
        postings = self._postings.get((segment, analyzer.name))
        if postings is None:
            with self._catalog.reading(_TIMEOUT_S) as connection:
                postings = read_postings(connection, segment, analyzer.name)
            if postings is None:
                # Built by an earlier release: the next night stores them.
                _log.info("building the postings of a segment", segment=segment, analysis=analyzer.name)
                postings = analyze_segment(self._catalog, segment, analyzer)
            self._postings[segment, analyzer.name] = postings
        return postings
