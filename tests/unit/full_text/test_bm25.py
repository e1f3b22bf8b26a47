"""BM25 over postings, compared with the formula written out over lists of words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindset.full_text.bm25 import K1, B, ChunkTable, VisibleChunks, bm25
from mindset.full_text.postings import AnalyzedChunk, Postings, build_postings

Chunks = dict[str, list[str]]

# Few words, so that ties, words of all chunks and chunks of one word occur; "the" is in most chunks.
_words = st.lists(st.sampled_from(["the", "the", "the", "rain", "in", "spain", "stays", "plain"]), max_size=12)
_chunks = st.dictionaries(st.integers(0, 2**128 - 1).map(lambda number: f"{number:032x}"), _words, max_size=40)


def reference(chunks: Chunks, words: Sequence[str], limit: int) -> list[tuple[str, float]]:
    mean_length = sum(map(len, chunks.values())) / max(len(chunks), 1)
    frequency = Counter(word for content in chunks.values() for word in set(content))
    found = []
    for chunk_id, content in chunks.items():
        score, matches = 0.0, False
        for word in words:
            if count := content.count(word):
                matches = True
                rarity = math.log(1 + (len(chunks) - frequency[word] + 0.5) / (frequency[word] + 0.5))
                score += rarity * count * (K1 + 1) / (count + K1 * (1 - B + B * len(content) / mean_length))
        if matches:
            found.append((chunk_id, score))
    return sorted(found, key=lambda entry: (-round(entry[1], 9), entry[0]))[:limit]


def postings(chunks: Chunks) -> Postings:
    return build_postings(AnalyzedChunk(chunk_id, words, len(words)) for chunk_id, words in sorted(chunks.items()))


def all_visible(*segments: Postings) -> VisibleChunks:
    table = ChunkTable(segments)
    return VisibleChunks(table, np.ones(len(table), dtype=np.bool_))


@given(_chunks, _words, st.integers(1, 10))
def test_scores_are_those_of_the_formula(chunks: Chunks, words: list[str], limit: int) -> None:
    ranked = bm25(all_visible(postings(chunks)), words, limit)
    expected = reference(chunks, words, len(chunks))
    scores = dict(expected)
    assert [score for _, score in ranked] == pytest.approx([score for _, score in expected[:limit]])
    assert all(score == pytest.approx(scores[chunk_id]) for chunk_id, score in ranked)
    assert ranked == sorted(ranked, key=lambda entry: (-entry[1], entry[0])), "ties are broken by id"


@given(_chunks, _words, st.integers(1, 10), st.data())
def test_ranking_does_not_depend_on_how_chunks_are_spread_over_segments(
    chunks: Chunks, words: list[str], limit: int, data: st.DataObject
) -> None:
    segment_of = {chunk_id: data.draw(st.integers(0, 3)) for chunk_id in chunks}
    segments = [
        postings({chunk_id: content for chunk_id, content in chunks.items() if segment_of[chunk_id] == number})
        for number in range(4)
    ]
    assert bm25(all_visible(*segments), words, limit) == bm25(all_visible(postings(chunks)), words, limit)


@given(_chunks, _words, st.integers(1, 10), st.data())
def test_ranking_of_some_chunks_is_that_of_an_index_of_these_chunks_alone(
    chunks: Chunks, words: list[str], limit: int, data: st.DataObject
) -> None:
    table = ChunkTable([postings(chunks)])
    mask = np.array([data.draw(st.booleans()) for _ in range(len(table))], dtype=np.bool_)
    visible = {chunk_id.decode() for chunk_id in table.chunk_ids[mask]}
    alone = postings({chunk_id: content for chunk_id, content in chunks.items() if chunk_id in visible})
    some = VisibleChunks(table, mask)
    assert bm25(some, words, limit) == bm25(all_visible(alone), words, limit)
    assert [chunk for chunk, ok in zip(sorted(chunks), some.contains(sorted(chunks)), strict=True) if ok] == sorted(
        visible
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 20))
def test_chunks_that_cannot_be_among_the_best_are_skipped_without_changing_the_result(seed: int, limit: int) -> None:
    randomly = np.random.default_rng(seed)
    # Zipf's law: a few words in most chunks, most words in few.
    chunks = {
        f"{number:032x}": [f"w{word}" for word in randomly.zipf(1.3, size=randomly.integers(1, 30)) if word < 500]
        for number in range(600)
    }
    words = [f"w{word}" for word in randomly.choice([1, 2, 3, 5, 20, 80, 150, 300], size=5)]
    ranked = bm25(all_visible(postings(chunks)), words, limit)
    expected = reference(chunks, words, limit)
    assert [score for _, score in ranked] == pytest.approx([score for _, score in expected])


@given(_chunks)
def test_postings_survive_being_stored(chunks: Chunks) -> None:
    written = postings(chunks)
    read = Postings.from_bytes(written.to_bytes())
    for field in ("chunk_ids", "lengths", "hashes", "starts", "chunks", "counts"):
        assert np.array_equal(getattr(read, field), getattr(written, field))


@given(_chunks, st.text(max_size=40))
def test_other_ids_are_not_in_the_table(chunks: Chunks, other: str) -> None:
    table = ChunkTable([postings(chunks)])
    ids = np.array([*(chunk_id.encode() for chunk_id in chunks), b"0" * 31 + b"x"], dtype=np.bytes_)
    numbers = table.numbers(ids)
    assert [table.chunk_ids[number].decode() for number in numbers[:-1]] == list(chunks)
    assert numbers[-1] == -1


def test_count_of_a_frequent_word_is_limited_but_the_length_is_not() -> None:
    built = postings({"0" * 32: ["word"] * 1_000})
    assert (built.counts.tolist(), built.lengths.tolist()) == ([255], [1_000])
