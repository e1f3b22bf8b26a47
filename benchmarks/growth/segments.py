"""What a search costs and finds in one to six segments, against exact search over the same vectors."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mindset.catalog.connection import Catalog
from mindset.catalog.releases import Served
from mindset.catalog.segments import Segment
from mindset.embedding.protocol import Vectors
from mindset.index.chroma import ChromaIndex
from mindset.retrieval.search import Searcher
from mindset.settings import Settings

SHARES = {1: (1.0,), 3: (0.7, 0.2, 0.1), 4: (0.6, 0.2, 0.12, 0.08), 6: (0.5, 0.2, 0.12, 0.08, 0.06, 0.04)}
"""How a version's vectors are spread: about as compaction leaves them."""

_ASKED = 20
_CANDIDATES = 60  # what a search asks for by default


@dataclass(frozen=True)
class SearchAt:
    """Vectors, segments; recall@20 among the candidates' first 20; milliseconds of one question after the other."""

    vectors: int
    segments: int
    recall: float
    p50: float
    p95: float
    written_per_s: float


def measure_segments(index: ChromaIndex, vectors: Vectors, questions: Vectors) -> Iterator[SearchAt]:
    """Write the vectors as one to six segments and search each."""
    exact = _exact(vectors, questions)
    ids = [f"{each:08}" for each in range(len(vectors))]
    # The searcher that serves questions; dense search alone needs no catalog.
    searcher = Searcher(Catalog("postgresql://unused"), index, Settings(_env_file=None))
    for count, shares in SHARES.items():
        began = time.perf_counter()
        segments = list(_write(index, ids, vectors, shares))
        rate = len(vectors) / (time.perf_counter() - began)
        view = Served(1, "model", vectors.shape[1], tuple(segments), None, 0)
        recalls, milliseconds = [], []
        for vector in questions[:20]:  # warms up
            searcher.nearest(view, vector, _CANDIDATES, time.perf_counter() + 60)
        for vector, expected in zip(questions, exact, strict=True):
            asked = time.perf_counter()
            found = searcher.nearest(view, vector, _CANDIDATES, asked + 60)
            milliseconds.append((time.perf_counter() - asked) * 1000)
            recalls.append(len({int(each) for each in found[:_ASKED]} & set(expected.tolist())) / _ASKED)
        cuts = statistics.quantiles(milliseconds, n=20)
        yield SearchAt(len(vectors), count, statistics.mean(recalls), statistics.median(milliseconds), cuts[18], rate)
        for each in segments:
            index.drop(each.collection)
    searcher.close()


def generated(real: Vectors, count: int) -> Iterator[Vectors]:
    """`count` vectors in blocks, with the shape of real ones: each between two of these, nearer to one, and a little off."""
    choose = np.random.default_rng(0)
    spread = real.std(axis=0) * 0.3
    for start in range(0, count, 50_000):
        size = min(50_000, count - start)
        one, other = choose.integers(0, len(real), (2, size))
        share = choose.uniform(0, 0.4, (size, 1)).astype(np.float32)
        made = real[one] * (1 - share) + real[other] * share + choose.normal(0, spread, (size, real.shape[1]))
        yield (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def _write(index: ChromaIndex, ids: Sequence[str], vectors: Vectors, shares: Sequence[float]) -> Iterator[Segment]:
    """Dealt out at random: what is alike is not always written on the same night."""
    order = np.random.default_rng(len(shares)).permutation(len(vectors))
    ends = [round(sum(shares[: at + 1]) * len(vectors)) for at in range(len(shares))]
    for number, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        collection = f"growth-{len(vectors)}-{len(shares)}-{number}"
        batches = (
            ([ids[each] for each in order[at : min(at + 5_000, end)]], vectors[order[at : min(at + 5_000, end)]])
            for at in range(start, end, 5_000)
        )
        for _ in index.write(collection, batches):
            pass
        yield Segment(number, collection, "model", vectors.shape[1], end - start)


def _exact(vectors: Vectors, questions: Vectors) -> NDArray[np.int64]:
    """Numbers of the 20 nearest vectors of each question, a block of vectors at a time."""
    best = np.full((len(questions), _ASKED), -np.inf, dtype=np.float32)
    who = np.zeros((len(questions), _ASKED), dtype=np.int64)
    for start in range(0, len(vectors), 50_000):
        near = questions @ vectors[start : start + 50_000].T
        top = np.argpartition(-near, _ASKED, axis=1)[:, :_ASKED]
        scores = np.concatenate([best, np.take_along_axis(near, top, axis=1)], axis=1)
        numbers = np.concatenate([who, top + start], axis=1)
        order = np.argsort(-scores, axis=1)[:, :_ASKED]
        best, who = np.take_along_axis(scores, order, axis=1), np.take_along_axis(numbers, order, axis=1)
    return who
