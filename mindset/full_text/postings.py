"""Postings: for every word of a segment, the chunks that contain it."""

from __future__ import annotations

import hashlib
import io
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mindset.full_text.near_duplicates import COMPONENTS, NO_SIGNATURE, Signature

# BM25 hardly distinguishes larger counts.
_MAX_COUNT = 255


@dataclass(frozen=True)
class Postings:
    """The postings of a segment; a chunk is identified by its number, its place in `chunk_ids`."""

    chunk_ids: NDArray[np.bytes_]
    """Shape (chunks,), in ascending order."""
    lengths: NDArray[np.int32]
    """Length of each chunk in words. Less than the number of its words where some repeat others."""
    hashes: NDArray[np.uint64]
    """Shape (words,), ascending: a hash of each word. At a million words, two have the same one with a probability of
    1 in 40 million."""
    starts: NDArray[np.int64]
    """Shape (words + 1,): the chunks of word `i` are at `starts[i]` to `starts[i + 1]` of the next two arrays."""
    chunks: NDArray[np.int32]
    """Numbers of the chunks that contain a word, ascending within each word."""
    counts: NDArray[np.uint8]
    """How often the word occurs in that chunk, at most 255."""
    signatures: NDArray[np.uint8]
    """Shape (chunks, COMPONENTS): a signature of each chunk's text, to recognize near-duplicates."""
    figures: NDArray[np.uint64]
    """Shape (chunks,): a hash of the words with digits of each chunk's text; 0 if it is too short to be compared."""

    def of(self, word_hash: np.uint64) -> slice:
        """Return where the chunks of a word are in `chunks` and `counts`; empty if no chunk contains it."""
        at = int(np.searchsorted(self.hashes, word_hash))
        if at == len(self.hashes) or self.hashes[at] != word_hash:
            return slice(0, 0)
        return slice(int(self.starts[at]), int(self.starts[at + 1]))

    @property
    def size(self) -> int:
        """Memory in bytes."""
        return sum(getattr(self, field.name).nbytes for field in fields(self))

    def to_bytes(self) -> bytes:
        """Return the postings in NumPy's `npz` format, uncompressed."""
        file = io.BytesIO()
        np.savez(file, **{field.name: getattr(self, field.name) for field in fields(self)})
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Postings:
        """Return the postings that `to_bytes` wrote."""
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            found: dict[str, Any] = dict(arrays)
        if "signatures" not in found:
            # Stored by an earlier release, whose versions do not merge near-duplicates.
            count = len(found["chunk_ids"])
            found |= {"signatures": np.zeros((count, COMPONENTS), np.uint8), "figures": np.zeros(count, np.uint64)}
        return cls(**found)


def word_hash(word: str) -> np.uint64:
    """Return the hash by which postings identify a word."""
    return np.uint64(int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little"))


@dataclass(frozen=True, slots=True)
class AnalyzedChunk:
    """A chunk's words, those of its context included, and the signature of its text."""

    chunk_id: str
    words: Sequence[str]
    length: int
    """In words; less than the number of `words` where some repeat others, such as `ppx9087` beside `ppx` and `9087`."""
    signature: Signature = NO_SIGNATURE


def build_postings(chunks: Iterable[AnalyzedChunk]) -> Postings:
    """Return the postings of chunks, given in ascending order of their ids."""
    chunk_ids: list[bytes] = []
    lengths = array("i")
    words: dict[str, int] = {}
    numbers, counts, sizes = array("i"), array("B"), array("i")
    signatures, figures = bytearray(), array("Q")
    for chunk in chunks:
        chunk_ids.append(chunk.chunk_id.encode())
        lengths.append(chunk.length)
        signatures += chunk.signature.components.tobytes()
        figures.append(chunk.signature.figures)
        occurrences = Counter(chunk.words)
        sizes.append(len(occurrences))
        numbers.extend([words.setdefault(word, len(words)) for word in occurrences])
        counts.extend([min(count, _MAX_COUNT) for count in occurrences.values()])
    hashes = np.fromiter((word_hash(word) for word in words), dtype=np.uint64, count=len(words))
    by_hash = np.argsort(hashes)
    rank = np.empty(len(words), dtype=np.int32)
    rank[by_hash] = np.arange(len(words), dtype=np.int32)
    word_of = rank[np.frombuffer(numbers, dtype=np.int32)] if numbers else np.empty(0, np.int32)
    chunk_of = np.repeat(np.arange(len(chunk_ids), dtype=np.int32), np.frombuffer(sizes, dtype=np.int32))
    by_word = np.argsort(word_of, kind="stable")  # stable: the chunks of a word stay in order
    starts = np.zeros(len(words) + 1, dtype=np.int64)
    np.cumsum(np.bincount(word_of, minlength=len(words)), out=starts[1:])
    return Postings(
        chunk_ids=np.array(chunk_ids, dtype=np.bytes_),
        lengths=np.array(lengths, dtype=np.int32),
        hashes=hashes[by_hash],
        starts=starts,
        chunks=chunk_of[by_word],
        counts=np.array(counts, dtype=np.uint8)[by_word],
        signatures=np.frombuffer(bytes(signatures), dtype=np.uint8).reshape(-1, COMPONENTS),
        figures=np.array(figures, dtype=np.uint64),
    )
