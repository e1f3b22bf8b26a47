"""Latency and recall of a search in one to six segments, compared with exact search over the same vectors."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mindset.catalog.pool import Catalog
from mindset.catalog.releases import VersionSnapshot
from mindset.catalog.segments import Segment
from mindset.config.ranking import RankingOptions
from mindset.config.settings import Settings
from mindset.embedding.protocol import Vectors
from mindset.retrieval.search import Searcher
from mindset.vector_index.chroma import ChromaIndex

_PROPORTIONS = {1: (1.0,), 3: (0.7, 0.2, 0.1), 4: (0.6, 0.2, 0.12, 0.08), 6: (0.5, 0.2, 0.12, 0.08, 0.06, 0.04)}
"""Segment sizes as fractions of a version's vectors: about as compaction leaves them."""

_LIMIT = 20
_CANDIDATES = 60  # the default of a search


@dataclass(frozen=True)
class SearchAt:
    """Results for a number of vectors and segments: recall@20, and milliseconds of sequential questions."""

    vectors: int
    segments: int
    recall: float
    p50: float
    p95: float
    written_per_s: float


# Searching vectors needs none of them.
_RANKING = RankingOptions(analysis="", candidates=1, dense_weight=1, lexical_weight=0, rerank=None)


def measure_segments(index: ChromaIndex, vectors: Vectors, questions: Vectors) -> Iterator[SearchAt]:
    """Write the vectors as one to six segments and search each."""
    exact = _exact(vectors, questions)
    ids = [f"{row:08}" for row in range(len(vectors))]
    # The searcher of the API; vector search alone needs no catalog.
    searcher = Searcher(Catalog("postgresql://unused"), index, Settings(_env_file=None))
    for count, proportions in _PROPORTIONS.items():
        started = time.perf_counter()
        segments = list(_write(index, ids, vectors, proportions))
        rate = len(vectors) / (time.perf_counter() - started)
        snapshot = VersionSnapshot(1, "model", vectors.shape[1], _RANKING, tuple(segments), None, 0, "0123456789ab")
        recalls, milliseconds = [], []
        for vector in questions[:20]:  # warms up
            searcher.dense.nearest(snapshot, vector, _CANDIDATES, time.perf_counter() + 60)
        for vector, expected in zip(questions, exact, strict=True):
            started = time.perf_counter()
            chunks = searcher.dense.nearest(snapshot, vector, _CANDIDATES, started + 60)
            milliseconds.append((time.perf_counter() - started) * 1000)
            recalls.append(len({int(chunk) for chunk in list(chunks)[:_LIMIT]} & set(expected.tolist())) / _LIMIT)
        cuts = statistics.quantiles(milliseconds, n=20)
        yield SearchAt(len(vectors), count, statistics.mean(recalls), statistics.median(milliseconds), cuts[18], rate)
        for segment in segments:
            index.drop(segment.collection)
    searcher.close()


def generated(real: Vectors, count: int) -> Iterator[Vectors]:
    """Yield `count` vectors in blocks, distributed like real ones: each lies between two real vectors, with some noise."""
    choose = np.random.default_rng(0)
    spread = real.std(axis=0) * 0.3
    for start in range(0, count, 50_000):
        size = min(50_000, count - start)
        one, other = choose.integers(0, len(real), (2, size))
        weight = choose.uniform(0, 0.4, (size, 1)).astype(np.float32)
        vectors = real[one] * (1 - weight) + real[other] * weight + choose.normal(0, spread, (size, real.shape[1]))
        yield (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _write(index: ChromaIndex, ids: Sequence[str], vectors: Vectors, proportions: Sequence[float]) -> Iterator[Segment]:
    """Write segments with random members: similar texts are not always added by the same night."""
    order = np.random.default_rng(len(proportions)).permutation(len(vectors))
    ends = [round(sum(proportions[: at + 1]) * len(vectors)) for at in range(len(proportions))]
    for number, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        collection = f"growth-{len(vectors)}-{len(proportions)}-{number}"
        batches = (
            ([ids[row] for row in order[at : min(at + 5_000, end)]], vectors[order[at : min(at + 5_000, end)]])
            for at in range(start, end, 5_000)
        )
        for _ in index.write(collection, batches):
            pass
        yield Segment(number, collection, "model", vectors.shape[1], end - start)


def _exact(vectors: Vectors, questions: Vectors) -> NDArray[np.int64]:
    """Return the row numbers of the 20 nearest vectors of each question, computed in blocks."""
    best = np.full((len(questions), _LIMIT), -np.inf, dtype=np.float32)
    nearest = np.zeros((len(questions), _LIMIT), dtype=np.int64)
    for start in range(0, len(vectors), 50_000):
        similarity = questions @ vectors[start : start + 50_000].T
        top = np.argpartition(-similarity, _LIMIT, axis=1)[:, :_LIMIT]
        scores = np.concatenate([best, np.take_along_axis(similarity, top, axis=1)], axis=1)
        numbers = np.concatenate([nearest, top + start], axis=1)
        order = np.argsort(-scores, axis=1)[:, :_LIMIT]
        best, nearest = np.take_along_axis(scores, order, axis=1), np.take_along_axis(numbers, order, axis=1)
    return nearest
