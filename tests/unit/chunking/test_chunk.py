"""Tests of a chunk's id and of the text that is embedded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mindset.chunking.chunk import Chunk
from tests.unit.chunking.test_chunkers import cut


def test_chunk_id_is_the_hash_of_context_and_text() -> None:
    # A literal: with another hash, every installation would embed all its texts again.
    assert Chunk("Guide › Piers", "The ferry sails at eight.").id == "92fad5da3930463bc839085773947d5b"


@given(st.tuples(st.text(), st.text()), st.tuples(st.text(), st.text()))
def test_chunk_ids_are_equal_only_if_the_chunks_are(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (Chunk(*one).id == Chunk(*other).id) == (one == other)


def test_same_section_elsewhere_in_another_document_is_the_same_chunk() -> None:
    section = "## North\n\nThe ferry sails at eight."
    one = cut(f"# Piers\n\nAbout piers.\n\n{section}", "structural")[-1]
    other = cut(f"# Piers\n\nQuite another text.\n\n## South\n\nClosed.\n\n{section}", "structural")[-1]
    assert one.chunk.id == other.chunk.id
    assert one.span != other.span


def test_heading_equal_to_the_title_is_not_repeated_in_the_context() -> None:
    assert [placed.chunk.context for placed in cut("# TITLE\n\n## Sub\n\nText.", "structural")] == [
        "Title",
        "Title › Sub",
    ]


def test_long_heading_is_truncated_in_the_context() -> None:
    chunks = cut(f"# {'long ' * 1_000}\n\nText.", "structural")
    assert chunks[-1].chunk.context == f"Title › {('long ' * 60).strip()}"


def test_embedding_text_is_the_context_and_the_words_without_markup() -> None:
    assert (
        Chunk("Guide › Piers", "## Piers\n\nThe *ferry* sails.").embedding_text
        == "Guide › Piers\n\nPiers\nThe ferry sails."
    )
    assert Chunk("", "**Text**").embedding_text == "Text"
