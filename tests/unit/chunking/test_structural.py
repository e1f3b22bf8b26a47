"""The structural way: along headings and blocks, never through a sentence, and stable under edits."""

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
def test_paragraphs_of_plain_text_are_what_blank_lines_separate(text: str) -> None:
    expected = [(m.start(), m.start() + len(m[0].rstrip())) for m in re.finditer(r"\S(?:.|\n(?![ \t]*\n))*", text)]
    assert [(each.start, each.end) for each in plain_blocks(text)] == expected


def test_a_paragraph_as_long_as_the_file_needs_no_memory_of_its_own() -> None:
    text = "x\n" * 2_000_000
    tracemalloc.start()
    (block,) = plain_blocks(text)
    assert (block.end, tracemalloc.get_traced_memory()[1] < 10 * len(text)) == (len(text) - 1, True)
    tracemalloc.stop()


def texts(text: str, media_type: str = "text/markdown") -> list[str]:
    return [text[each.start : each.end] for each in structural(text, media_type, TOKENS)]


def ids(text: str, tokens: int = TOKENS) -> set[ChunkId]:
    return {each.chunk.id for each in cut(text, "structural", tokens)}


def rows(count: int) -> list[str]:
    return [f"row {number} of the table of ships" for number in range(count)]


@examples
@given(st.lists(SENTENCES, min_size=1, max_size=30), st.sampled_from(["text/markdown", "text/plain"]))
def test_no_sentence_is_cut(sentences: list[str], media_type: str) -> None:
    found = texts(" ".join(sentences), media_type)
    assert all(any(sentence in chunk for chunk in found) for sentence in sentences)


@examples
@given(st.lists(SENTENCES, min_size=1, max_size=30))
def test_sentences_are_packed_up_to_the_budget(sentences: list[str]) -> None:
    longest = max(map(len, sentences))
    assert all(len(chunk) <= max(BUDGET, longest) for chunk in texts(" ".join(sentences)))


def test_a_sentence_beyond_the_budget_stays_whole() -> None:
    endless = "It goes " + "on and " * 20 + "on."
    assert BUDGET < len(endless) < 4 * BUDGET
    assert endless in texts(f"Short before. {endless} Short behind.")


def test_a_sentence_beyond_four_times_the_budget_is_cut_between_words() -> None:
    endless = "It goes " + "onward " * 100 + "on."
    found = texts(endless)
    assert " ".join(found) == endless
    assert all(len(chunk) <= 4 * BUDGET for chunk in found)


def test_a_word_without_end_is_cut_all_the_same() -> None:
    assert [len(chunk) for chunk in texts("x" * 600)] == [4 * BUDGET, 4 * BUDGET, 600 - 8 * BUDGET]


@pytest.mark.parametrize(
    "block",
    [
        pytest.param("\n".join(["| ships |", "| ----- |", *(f"| {row} |" for row in rows(5))]), id="table"),
        pytest.param("\n".join(["```python", *rows(5), "", "after_a_blank_line = 1", "```"]), id="fence"),
        pytest.param("\n".join(f"    {row}. And more." for row in rows(5)), id="indented code"),
    ],
)
def test_tables_and_code_beyond_the_budget_stay_whole(block: str) -> None:
    assert BUDGET < len(block) < 4 * BUDGET
    assert any(block in chunk for chunk in texts(f"Before.\n\n{block}\n\nBehind."))


def test_a_table_beyond_four_times_the_budget_is_cut_between_its_rows() -> None:
    table = ["| ships |", "| ----- |", *(f"| {row} |" for row in rows(40))]
    found = texts("\n".join(table))
    assert [line for chunk in found for line in chunk.split("\n")] == table
    assert all(len(chunk) <= 4 * BUDGET for chunk in found)


def test_items_of_a_list_are_blocks_and_keep_what_is_below_them() -> None:
    items = [f"- Item {number} of the list\n  - and what stands below it" for number in range(6)]
    found = texts("\n".join(items))
    assert len(found) > 1
    assert all(any(item in chunk for chunk in found) for item in items)


@examples
@given(st.lists(st.tuples(st.integers(1, 6), PARAGRAPHS), min_size=1, max_size=8))
def test_a_chunk_knows_the_headings_above_it_and_never_spans_two_sections(sections: list[tuple[int, str]]) -> None:
    written = [f"{'#' * level} Part {at}\n\n{body}\n\n" for at, (level, body) in enumerate(sections)]
    starts = list(accumulate(map(len, written), initial=0))
    for each in structural("".join(written), "text/markdown", TOKENS):
        own = bisect_right(starts, each.start) - 1
        assert each.end <= starts[own + 1]
        above = [own]
        for at in range(own, -1, -1):
            if sections[at][0] < sections[above[0]][0]:
                above.insert(0, at)
        assert each.heading_path == tuple(f"Part {at}" for at in above)


def test_headings_are_read_without_their_markup_and_as_deep_as_they_are() -> None:
    text = "Preface.\n\n# The *north* `pier` {#pier}\n\nA.\n\n### Deep\n\nB.\n\nSetext\n------\n\nC.\n\n#\n\nD."
    assert [(chunk.chunk.text.rpartition("\n")[2], chunk.span.heading_path) for chunk in cut(text, "structural")] == [
        ("Preface.", ()),
        ("A.", ("The north pier",)),
        ("B.", ("The north pier", "Deep")),
        ("C.", ("The north pier", "Setext")),
        ("D.", ()),
    ]


def test_what_looks_like_a_heading_is_none_in_code_and_in_plain_text() -> None:
    assert texts("```\n# comment\n```") == ["```\n# comment\n```"]
    assert [each.heading_path for each in structural("# Not a heading\n\nText.", "text/plain", TOKENS)] == [()]


@examples
@given(st.lists(st.lists(PARAGRAPHS, min_size=1, max_size=4), min_size=2, max_size=6), st.data())
def test_a_changed_paragraph_changes_chunks_of_its_section_alone(
    sections: list[list[str]], data: st.DataObject
) -> None:
    def written() -> dict[str, str]:
        return {f"Part {at}": "\n\n".join([f"## Part {at}", *body]) for at, body in enumerate(sections)}

    changed = data.draw(st.integers(0, len(sections) - 1))
    before = cut("\n\n".join(written().values()), "structural")
    sections[changed][data.draw(st.integers(0, len(sections[changed]) - 1))] = data.draw(PARAGRAPHS)
    after = ids("\n\n".join(written().values()))
    assert {each.span.heading_path for each in before if each.chunk.id not in after} <= {(f"Part {changed}",)}


@pytest.mark.parametrize("edit", ["changed", "added", "removed"])
@pytest.mark.parametrize("at", [0, 1, 100, 198, 199])
def test_in_a_section_of_two_hundred_paragraphs_an_edit_changes_a_handful_of_chunks(edit: str, at: int) -> None:
    chance = random.Random(7)
    paragraphs = [f"Paragraph {number} has {'some ' * chance.randint(1, 40)}words." for number in range(200)]
    before = ids("\n\n".join(paragraphs), tokens=100)
    new = "Something else entirely."
    paragraphs[at : at + (edit != "added")] = [] if edit == "removed" else [new]
    after = ids("\n\n".join(paragraphs), tokens=100)
    assert len(before) > 80
    assert len(before - after) <= 8
    assert len(after - before) <= 8
