"""BM25 over the chunks that a caller may read, with the statistics of exactly these chunks.

Source of the formula: Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009, with the
inverse document frequency of Lucene, which is never negative."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mindset.full_text.near_duplicates import COMPONENTS
from mindset.full_text.postings import Postings, word_hash

# The defaults of Anserini, chosen on TREC collections (Trotman et al., "Improvements to BM25 and Language Models
# Examined", 2014, found no single better pair).
K1, B = 0.9, 0.4

# Counting a word again takes less than a millisecond per 100,000 chunks.
_MAX_FREQUENCIES = 10_000


class ChunkTable:
    """The chunks of several segments, numbered consecutively: those of the first segment, then those of the second, ..."""

    def __init__(self, segments: Sequence[Postings]) -> None:
        self.segments = tuple(segments)
        self.offsets = np.cumsum([0, *(len(segment.chunk_ids) for segment in segments)]).tolist()
        self.chunk_ids: NDArray[np.bytes_] = np.concatenate(
            [np.empty(0, dtype="S32"), *(segment.chunk_ids for segment in segments)]
        )
        self.lengths: NDArray[np.int32] = np.concatenate(
            [np.empty(0, dtype=np.int32), *(segment.lengths for segment in segments)]
        )
        self._order = np.argsort(self.chunk_ids, kind="stable")

    def __len__(self) -> int:
        return len(self.chunk_ids)

    def numbers(self, chunk_ids: NDArray[np.bytes_]) -> NDArray[np.int64]:
        """Return the number of each chunk, -1 for those that no segment contains."""
        if not len(self):
            return np.full(len(chunk_ids), -1, dtype=np.int64)
        at = np.searchsorted(self.chunk_ids, chunk_ids, sorter=self._order)
        number = self._order[np.minimum(at, len(self) - 1)]
        return np.where(self.chunk_ids[number] == chunk_ids, number, -1)

    def contained(self, words: Sequence[str], numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which of the chunks contain which of the words, of shape (numbers, distinct words)."""
        distinct = [word_hash(word) for word in dict.fromkeys(words)]
        found = np.zeros((len(numbers), len(distinct)), dtype=np.bool_)
        for column, word in enumerate(distinct):
            for chunks, _ in self.occurrences(word):
                at = np.minimum(np.searchsorted(chunks, numbers), len(chunks) - 1)
                found[:, column] |= chunks[at] == numbers
        return found

    def signatures(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.uint64]]:
        """Return the signatures of chunks, of shape (numbers, COMPONENTS), and their figures, of shape (numbers,)."""
        components = np.zeros((len(numbers), COMPONENTS), dtype=np.uint8)
        figures = np.zeros(len(numbers), dtype=np.uint64)
        for segment, start, end in zip(self.segments, self.offsets, self.offsets[1:], strict=False):
            inside = (numbers >= start) & (numbers < end)
            components[inside] = segment.signatures[numbers[inside] - start]
            figures[inside] = segment.figures[numbers[inside] - start]
        return components, figures

    def occurrences(self, word: np.uint64) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
        """Yield, for each segment that contains the word, the numbers of its chunks and how often each contains it."""
        for segment, offset in zip(self.segments, self.offsets, strict=False):
            place = segment.of(word)
            if place.stop > place.start:
                yield segment.chunks[place] + np.int64(offset), segment.counts[place]


@dataclass(frozen=True)
class VisibleChunks:
    """Those chunks of a table that a search may return, and their statistics."""

    table: ChunkTable
    mask: NDArray[np.bool_]
    """Shape (chunks of the table,)."""
    _frequencies: dict[np.uint64, int] = field(default_factory=dict)

    @cached_property
    def count(self) -> int:
        """The number of visible chunks."""
        return int(np.count_nonzero(self.mask))

    @property
    def is_all(self) -> bool:
        """Whether every chunk of the table is visible."""
        return self.count == len(self.table)

    @cached_property
    def mean_length(self) -> float:
        """The mean number of words of a visible chunk."""
        return int(self.table.lengths[self.mask].sum(dtype=np.int64)) / max(self.count, 1)

    @cached_property
    def saturation(self) -> NDArray[np.float64]:
        """The number of occurrences at which a word of a chunk has half of its weight; it grows with the chunk's length."""
        relative = self.table.lengths.astype(np.float64) / max(self.mean_length, 1e-9)
        return np.asarray(K1 * (1 - B + B * relative))

    def frequency(self, word: np.uint64) -> int:
        """Return the number of visible chunks that contain a word."""
        known = self._frequencies.get(word)
        if known is None:
            known = sum(
                len(chunks) if self.is_all else int(np.count_nonzero(self.mask[chunks]))
                for chunks, _ in self.table.occurrences(word)
            )
            if known and len(self._frequencies) < _MAX_FREQUENCIES:
                self._frequencies[word] = known
        return known

    def contains(self, chunk_ids: Sequence[str]) -> list[bool]:
        """Return for each id whether it is a visible chunk."""
        return [number >= 0 and bool(self.mask[number]) for number in self.numbers(chunk_ids).tolist()]

    def numbers(self, chunk_ids: Sequence[str]) -> NDArray[np.int64]:
        """Return the number of each chunk in the table, -1 for those that it lacks."""
        return self.table.numbers(np.array([chunk_id.encode() for chunk_id in chunk_ids], dtype=np.bytes_))


def bm25(
    visible: VisibleChunks, words: Sequence[str], limit: int, check_deadline: Callable[[], None] = lambda: None
) -> list[tuple[str, float]]:
    """Return the `limit` best visible chunks that contain any of the words, as (chunk id, score), best first.

    The result depends on nothing but the visible chunks: not on their segments, nor on chunks that are not visible. Ties
    are broken by id. `check_deadline` is called for each word, and may raise."""
    terms = _terms(visible, words)
    if not terms:
        return []
    table = visible.table
    scores = np.zeros(len(table))
    remaining = sum(weight * (K1 + 1) for _, weight in terms)

    def gain(weight: float, numbers: NDArray[np.int64], counts: NDArray[np.uint8]) -> NDArray[np.float64]:
        return weight * (K1 + 1) * counts / (counts + visible.saturation[numbers])

    candidates: NDArray[np.int64] | None = None
    scored = 0
    for word, weight in terms:
        check_deadline()
        if candidates is None and scored >= limit and visible.frequency(word) > 2 * scored:
            candidates = _candidates(scores, visible, limit, remaining)
        for numbers, counts in table.occurrences(word):
            if candidates is None:
                scores[numbers] += gain(weight, numbers, counts)
            else:
                at = np.searchsorted(numbers, candidates)
                at[at == len(numbers)] = 0
                found = numbers[at] == candidates
                scores[candidates[found]] += gain(weight, candidates[found], counts[at[found]])
        scored += visible.frequency(word)
        remaining -= weight * (K1 + 1)
    if candidates is None:
        candidates = np.flatnonzero(scores)
    return _best(scores, candidates[visible.mask[candidates]], table, limit)


def _terms(visible: VisibleChunks, words: Sequence[str]) -> list[tuple[np.uint64, float]]:
    """Return the hash and the weight of each distinct word that a visible chunk contains, those with most weight first."""
    terms = []
    for word, occurrences in Counter(words).items():
        hashed = word_hash(word)
        if frequency := visible.frequency(hashed):
            rarity = math.log(1 + (visible.count - frequency + 0.5) / (frequency + 0.5))
            terms.append((hashed, occurrences * rarity))
    return sorted(terms, key=lambda term: (-term[1], int(term[0])))


def _candidates(
    scores: NDArray[np.float64], visible: VisibleChunks, limit: int, remaining: float
) -> NDArray[np.int64] | None:
    """Return the chunks that can still be among the best, or None if chunks without a score yet are among them.

    `remaining` is more than the words that were not looked at yet can add to a score. Source: Turtle and Flood, "Query
    Evaluation: Strategies and Optimizations", 1995 (MaxScore)."""
    scored = np.flatnonzero(scores)
    scored = scored[visible.mask[scored]]
    if len(scored) < limit:
        return None
    threshold = np.partition(scores[scored], len(scored) - limit)[len(scored) - limit]
    remaining *= 1 + 1e-9  # it was rounded
    if remaining >= threshold:
        return None
    return np.asarray(scored[scores[scored] + remaining >= threshold])


def _best(
    scores: NDArray[np.float64], candidates: NDArray[np.int64], table: ChunkTable, limit: int
) -> list[tuple[str, float]]:
    if len(candidates) > limit:
        values = scores[candidates]
        threshold = np.partition(values, len(values) - limit)[len(values) - limit]
        candidates = candidates[values >= threshold]  # more than `limit` if there are ties
    found = [(table.chunk_ids[number].decode(), float(scores[number])) for number in candidates.tolist()]
    return sorted(found, key=lambda entry: (-entry[1], entry[0]))[:limit]
