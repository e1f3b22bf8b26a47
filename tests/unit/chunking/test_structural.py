"""Tests of structural chunking: it follows headings and blocks, keeps sentences whole, and is stable under edits."""

from __future__ import annotations

import random
import re
import tracemalloc
from bisect import bisect_right
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindset.chunking.chunk import CHARACTERS_PER_TOKEN, ChunkId
from mindset.chunking.structural import structural
from mindset.text.markdown import plain_blocks
from tests.unit.chunking.documents import PARAGRAPHS, SENTENCES
from tests.unit.chunking.test_chunkers import cut

TOKENS = 16
BUDGET = TOKENS * CHARACTERS_PER_TOKEN
examples = settings(max_examples=60, deadline=None)


@given(st.text(alphabet="ab \t\n\r\x0b\u2028", max_size=40))
def test_paragraphs_of_plain_text_are_separated_by_blank_lines(text: str) -> None:
    expected = [
        (match.start(), match.start() + len(match[0].rstrip()))
        for match in re.finditer(r"\S(?:.|\n(?![ \t]*\n))*", text)
    ]
    assert [(block.start, block.end) for block in plain_blocks(text)] == expected


def test_paragraph_as_long_as_the_file_is_not_copied() -> None:
    text = "x\n" * 2_000_000
    tracemalloc.start()
    (block,) = plain_blocks(text)
    assert (block.end, tracemalloc.get_traced_memory()[1] < 10 * len(text)) == (len(text) - 1, True)
    tracemalloc.stop()


def texts(text: str, media_type: str = "text/markdown") -> list[str]:
    return [span.table_header + text[span.start : span.end] for span in structural(text, media_type, TOKENS)]


def ids(text: str, tokens: int = TOKENS) -> set[ChunkId]:
    return {placed.chunk.id for placed in cut(text, "structural", tokens)}


def rows(count: int) -> list[str]:
    return [f"row {number} of the table of ships" for number in range(count)]


@examples
@given(st.lists(SENTENCES, min_size=1, max_size=30), st.sampled_from(["text/markdown", "text/plain"]))
def test_sentences_are_not_cut(sentences: list[str], media_type: str) -> None:
    chunks = texts(" ".join(sentences), media_type)
    assert all(any(sentence in chunk for chunk in chunks) for sentence in sentences)


@examples
@given(st.lists(SENTENCES, min_size=1, max_size=30))
def test_sentences_are_packed_up_to_the_budget(sentences: list[str]) -> None:
    longest = max(map(len, sentences))
    assert all(len(chunk) <= max(BUDGET, longest) for chunk in texts(" ".join(sentences)))


def test_sentence_over_the_budget_stays_whole() -> None:
    endless = "It goes " + "on and " * 20 + "on."
    assert BUDGET < len(endless) < 4 * BUDGET
    assert endless in texts(f"Short before. {endless} Short behind.")


def test_sentence_over_four_times_the_budget_is_cut_between_words() -> None:
    endless = "It goes " + "onward " * 100 + "on."
    chunks = texts(endless)
    assert " ".join(chunks) == endless
    assert all(len(chunk) <= 4 * BUDGET for chunk in chunks)


def test_word_over_four_times_the_budget_is_cut() -> None:
    assert [len(chunk) for chunk in texts("x" * 600)] == [4 * BUDGET, 4 * BUDGET, 600 - 8 * BUDGET]


@pytest.mark.parametrize(
    "block",
    [
        pytest.param("\n".join(["```python", *rows(5), "", "after_a_blank_line = 1", "```"]), id="fence"),
        pytest.param("\n".join(f"    {row}. And more." for row in rows(5)), id="indented code"),
    ],
)
def test_code_over_the_budget_stays_whole(block: str) -> None:
    assert BUDGET < len(block) < 4 * BUDGET
    assert any(block in chunk for chunk in texts(f"Before.\n\n{block}\n\nBehind."))


def test_table_over_the_budget_is_cut_between_rows_and_repeats_its_header() -> None:
    header, body = ["| ships |", "| ----- |"], [f"| {row} |" for row in rows(40)]
    tables = [chunk.split("\n") for chunk in texts("\n".join([*header, *body]))]
    assert len(tables) > 10
    assert all(lines[:2] == header for lines in tables)
    assert [line for lines in tables for line in lines[2:]] == body


def test_header_that_takes_most_of_the_budget_is_not_repeated() -> None:
    header, body = [f"| {'wide ' * 10}|", "| --- |"], [f"| {row} |" for row in rows(20)]
    chunks = texts("\n".join([*header, *body]))
    assert [line for chunk in chunks for line in chunk.split("\n")] == [*header, *body]


def test_list_items_are_blocks_that_include_their_nested_items() -> None:
    items = [f"- Item {number} of the list\n  - and its nested item" for number in range(6)]
    chunks = texts("\n".join(items))
    assert len(chunks) > 1
    assert all(any(item in chunk for chunk in chunks) for item in items)


@examples
@given(st.lists(st.tuples(st.integers(1, 6), PARAGRAPHS), min_size=1, max_size=8))
def test_chunk_has_the_headings_above_it_and_never_spans_two_sections(sections: list[tuple[int, str]]) -> None:
    written = [f"{'#' * level} Part {at}\n\n{body}\n\n" for at, (level, body) in enumerate(sections)]
    starts = list(accumulate(map(len, written), initial=0))
    for span in structural("".join(written), "text/markdown", TOKENS):
        own = bisect_right(starts, span.start) - 1
        assert span.end <= starts[own + 1]
        above = [own]
        for at in range(own, -1, -1):
            if sections[at][0] < sections[above[0]][0]:
                above.insert(0, at)
        assert span.heading_path == tuple(f"Part {at}" for at in above)


def test_heading_path_has_plain_titles_at_their_levels() -> None:
    text = "Preface.\n\n# The *north* `pier` {#pier}\n\nA.\n\n### Deep\n\nB.\n\nSetext\n------\n\nC.\n\n#\n\nD."
    assert [(chunk.chunk.text.rpartition("\n")[2], chunk.span.heading_path) for chunk in cut(text, "structural")] == [
        ("Preface.", ()),
        ("A.", ("The north pier",)),
        ("B.", ("The north pier", "Deep")),
        ("C.", ("The north pier", "Setext")),
        ("D.", ()),
    ]


def test_hash_sign_in_code_and_in_plain_text_is_not_a_heading() -> None:
    assert texts("```\n# comment\n```") == ["```\n# comment\n```"]
    assert [span.heading_path for span in structural("# Not a heading\n\nText.", "text/plain", TOKENS)] == [()]


@examples
@given(st.lists(st.lists(PARAGRAPHS, min_size=1, max_size=4), min_size=2, max_size=6), st.data())
def test_changed_paragraph_changes_only_chunks_of_its_section(sections: list[list[str]], data: st.DataObject) -> None:
    def written() -> dict[str, str]:
        return {f"Part {at}": "\n\n".join([f"## Part {at}", *body]) for at, body in enumerate(sections)}

    changed = data.draw(st.integers(0, len(sections) - 1))
    before = cut("\n\n".join(written().values()), "structural")
    sections[changed][data.draw(st.integers(0, len(sections[changed]) - 1))] = data.draw(PARAGRAPHS)
    after = ids("\n\n".join(written().values()))
    assert {placed.span.heading_path for placed in before if placed.chunk.id not in after} <= {(f"Part {changed}",)}


@pytest.mark.parametrize("edit", ["changed", "added", "removed"])
@pytest.mark.parametrize("at", [0, 1, 100, 198, 199])
def test_edit_in_a_section_of_200_paragraphs_changes_few_chunks(edit: str, at: int) -> None:
    generator = random.Random(7)
    paragraphs = [f"Paragraph {number} has {'some ' * generator.randint(1, 40)}words." for number in range(200)]
    before = ids("\n\n".join(paragraphs), tokens=100)
    new = "Something else entirely."
    paragraphs[at : at + (edit != "added")] = [] if edit == "removed" else [new]
    after = ids("\n\n".join(paragraphs), tokens=100)
    assert len(before) > 80
    assert len(before - after) <= 8
    assert len(after - before) <= 8
