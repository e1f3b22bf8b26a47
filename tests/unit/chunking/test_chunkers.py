"""Contract test of all chunking methods."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Literal, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindset.chunking.chunk import CHARACTERS_PER_TOKEN
from mindset.chunking.chunker import PlacedChunk, chunk_document
from mindset.config.build_options import Chunking
from tests.unit.chunking.documents import DOCUMENTS, WELL_FORMED, visible_characters

Method = Literal["structural", "recursive", "fixed"]
BUDGETS = st.integers(16, 60)

every_method = pytest.mark.parametrize("method", get_args(Chunking.model_fields["method"].annotation))
examples = settings(max_examples=80, deadline=None)


def cut(
    text: str, method: Method, tokens: int = 16, overlap: int = 0, media_type: str = "text/markdown"
) -> list[PlacedChunk]:
    return list(chunk_document(text, "Title", media_type, Chunking(method=method, tokens=tokens, overlap=overlap)))


def _uncovered(text: str, placed: list[PlacedChunk]) -> str:
    """Return the text with the characters of the chunks replaced by spaces."""
    characters = list(text)
    for chunk in placed:
        for position in range(chunk.span.start, chunk.span.end):
            characters[position] = "\n" if characters[position] == "\n" else " "
    return "".join(characters)


@every_method
@examples
@given(text=DOCUMENTS, tokens=BUDGETS, overlap=st.integers(0, 15))
def test_offsets_match_the_text_of_the_chunk(method: Method, text: str, tokens: int, overlap: int) -> None:
    placed = cut(text, method, tokens, overlap)
    assert [chunk.ordinal for chunk in placed] == list(range(len(placed)))
    for chunk in placed:
        assert chunk.chunk.text == chunk.span.table_header + text[chunk.span.start : chunk.span.end]
        assert text[chunk.span.start : chunk.span.end].strip()
        assert chunk.span.table_header in text[: chunk.span.start]


@every_method
@examples
@given(text=DOCUMENTS, tokens=BUDGETS, overlap=st.integers(0, 15))
def test_chunks_are_in_order_and_each_adds_text(method: Method, text: str, tokens: int, overlap: int) -> None:
    for one, other in pairwise(chunk.span for chunk in cut(text, method, tokens, overlap)):
        assert one.start <= other.start
        assert one.end < other.end


@every_method
@examples
@given(text=DOCUMENTS, tokens=BUDGETS)
def test_without_overlap_no_text_occurs_in_two_chunks(method: Method, text: str, tokens: int) -> None:
    assert all(one.span.end <= other.span.start for one, other in pairwise(cut(text, method, tokens)))


@every_method
@examples
@given(text=DOCUMENTS, tokens=BUDGETS, overlap=st.integers(0, 15))
def test_chunks_contain_every_word_of_the_rendered_page(method: Method, text: str, tokens: int, overlap: int) -> None:
    assert visible_characters(_uncovered(text, cut(text, method, tokens, overlap))) == ""


@every_method
@examples
@given(text=DOCUMENTS, tokens=BUDGETS)
def test_chunks_contain_every_character_of_plain_text(method: Method, text: str, tokens: int) -> None:
    assert not _uncovered(text, cut(text, method, tokens, media_type="text/plain")).strip()


@pytest.mark.parametrize("method", ["recursive", "fixed"])
@examples
@given(text=DOCUMENTS, tokens=BUDGETS, overlap=st.integers(0, 15))
def test_recursive_and_fixed_chunks_fit_the_budget(method: Method, text: str, tokens: int, overlap: int) -> None:
    assert all(len(chunk.chunk.text) <= tokens * CHARACTERS_PER_TOKEN for chunk in cut(text, method, tokens, overlap))


@every_method
@examples
@given(text=WELL_FORMED)
def test_chunking_is_deterministic(method: Method, text: str) -> None:
    assert cut(text, method) == cut(text, method)


@every_method
@pytest.mark.parametrize("text", ["", " ", "\n\n \n", "\u00a0\n\u3000"])
def test_white_space_yields_no_chunk(method: Method, text: str) -> None:
    assert cut(text, method) == []


def test_windows_overlap_by_the_configured_amount() -> None:
    text = "".join(f"{number:04}" for number in range(40))
    assert [(chunk.span.start, chunk.span.end) for chunk in cut(text, "fixed", tokens=16, overlap=4)] == [
        (0, 64), (48, 112), (96, 160),
    ]  # fmt: skip


def test_window_that_adds_only_white_space_is_skipped() -> None:
    placed = cut(f"{'x' * 64}{' ' * 64}end", "fixed", tokens=16, overlap=8)
    assert [(chunk.span.start, chunk.span.end) for chunk in placed] == [(0, 64), (128, 131)]


def test_only_structural_chunks_have_headings_in_their_context() -> None:
    def contexts(method: Method) -> Iterator[str]:
        return (chunk.chunk.context for chunk in cut("# Piers\n\nText.\n\n## North\n\nMore.", method))

    assert list(contexts("structural")) == ["Title › Piers", "Title › Piers › North"]
    assert set(contexts("recursive")) == set(contexts("fixed")) == {"Title"}
