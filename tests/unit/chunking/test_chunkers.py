"""What holds for every way to cut."""

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
from tests.unit.chunking.documents import DOCUMENTS, TIDY, shown

Method = Literal["structural", "recursive", "fixed"]
BUDGETS = st.integers(16, 60)

every_method = pytest.mark.parametrize("method", get_args(Chunking.model_fields["method"].annotation))
examples = settings(max_examples=80, deadline=None)


def cut(
    text: str, method: Method, tokens: int = 16, overlap: int = 0, media_type: str = "text/markdown"
) -> list[PlacedChunk]:
    return list(chunk_document(text, "Title", media_type, Chunking(method=method, tokens=tokens, overlap=overlap)))


def _uncovered(text: str, placed: list[PlacedChunk]) -> str:
    """The text with white space where chunks stand."""
    left = list(text)
    for each in placed:
        for at in range(each.span.start, each.span.end):
            left[at] = left[at] if left[at] == "\n" else " "
    return "".join(left)


@every_method
@examples
@given(text=DOCUMENTS, tokens=BUDGETS, overlap=st.integers(0, 15))
def test_offsets_lead_back_to_the_text_exactly(method: Method, text: str, tokens: int, overlap: int) -> None:
    placed = cut(text, method, tokens, overlap)
    assert [each.ordinal for each in placed] == list(range(len(placed)))
    for each in placed:
        assert each.chunk.text == text[each.span.start : each.span.end]
        assert each.chunk.text.strip()


@every_method
@examples
@given(text=DOCUMENTS, tokens=BUDGETS, overlap=st.integers(0, 15))
def test_cuts_come_in_order_and_each_holds_something_new(method: Method, text: str, tokens: int, overlap: int) -> None:
    for one, other in pairwise(each.span for each in cut(text, method, tokens, overlap)):
        assert one.start <= other.start
        assert one.end < other.end


@every_method
@examples
@given(text=DOCUMENTS, tokens=BUDGETS)
def test_without_overlap_no_text_stands_in_two_chunks(method: Method, text: str, tokens: int) -> None:
    assert all(one.span.end <= other.span.start for one, other in pairwise(cut(text, method, tokens)))


@every_method
@examples
@given(text=DOCUMENTS, tokens=BUDGETS, overlap=st.integers(0, 15))
def test_together_chunks_hold_every_word_that_a_page_shows(
    method: Method, text: str, tokens: int, overlap: int
) -> None:
    assert shown(_uncovered(text, cut(text, method, tokens, overlap))) == ""


@every_method
@examples
@given(text=DOCUMENTS, tokens=BUDGETS)
def test_together_chunks_hold_every_character_of_plain_text(method: Method, text: str, tokens: int) -> None:
    assert not _uncovered(text, cut(text, method, tokens, media_type="text/plain")).strip()


@pytest.mark.parametrize("method", ["recursive", "fixed"])
@examples
@given(text=DOCUMENTS, tokens=BUDGETS, overlap=st.integers(0, 15))
def test_no_chunk_of_the_comparisons_exceeds_the_budget(method: Method, text: str, tokens: int, overlap: int) -> None:
    assert all(len(each.chunk.text) <= tokens * CHARACTERS_PER_TOKEN for each in cut(text, method, tokens, overlap))


@every_method
@examples
@given(text=TIDY)
def test_equal_texts_are_cut_into_equal_chunks(method: Method, text: str) -> None:
    assert cut(text, method) == cut(text, method)


@every_method
@pytest.mark.parametrize("text", ["", " ", "\n\n \n", "\u00a0\n\u3000"])
def test_white_space_makes_no_chunk(method: Method, text: str) -> None:
    assert cut(text, method) == []


def test_windows_repeat_as_much_as_they_overlap() -> None:
    text = "".join(f"{number:04}" for number in range(40))
    assert [(each.span.start, each.span.end) for each in cut(text, "fixed", tokens=16, overlap=4)] == [
        (0, 64), (48, 112), (96, 160),
    ]  # fmt: skip


def test_a_window_that_adds_nothing_but_white_space_is_no_chunk() -> None:
    placed = cut(f"{'x' * 64}{' ' * 64}end", "fixed", tokens=16, overlap=8)
    assert [(each.span.start, each.span.end) for each in placed] == [(0, 64), (128, 131)]


def test_only_the_structural_way_knows_the_headings() -> None:
    def contexts(method: Method) -> Iterator[str]:
        return (each.chunk.context for each in cut("# Piers\n\nText.\n\n## North\n\nMore.", method))

    assert list(contexts("structural")) == ["Title › Piers", "Title › Piers › North"]
    assert set(contexts("recursive")) == set(contexts("fixed")) == {"Title"}
