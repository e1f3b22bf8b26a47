"""Tests of citation markers in a stream of text."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mindset.generation.citations import Citation, CitationReader

PASSAGES = 3


def read(*pieces: str, passages: int = PASSAGES) -> tuple[str, list[Citation]]:
    reader = CitationReader(passages)
    text = "".join([*(reader.feed(piece) for piece in pieces), reader.finish()])
    assert reader.citations == reader.new_citations()
    return text, reader.citations


_ODDITIES = ["[", "]", "[1]", "[2]", "[9]", "[0]", "[1, 2]", "[1,9]", "[ 1 ]", "[1234]", "[12", ",", "1", "3", " ", "\n", ". ",
             "[[1]]", "word", "[a]", "[1][3]", "[1," + " " * 247, "[" + "1," * 125, "é", "١", "[١]",
             "[^1]", "[passage 2]", "[1-3]", "【1】", "†", "and", "^", "(", ":", "-", "passage "]  # fmt: skip
ANSWERS = st.one_of(st.lists(st.sampled_from(_ODDITIES), max_size=30).map("".join), st.text("[]12, \na", max_size=60))


@settings(max_examples=300, deadline=None)
@given(ANSWERS, st.lists(st.integers(0, 200)))
@example(f"[1,{' ' * 247}2]", [250])  # the longest marker
@example(f"[1,{' ' * 248}2]", [250])  # one character too long
def test_text_and_citations_do_not_depend_on_the_pieces(answer: str, positions: list[int]) -> None:
    cuts = [0, *sorted(min(position, len(answer)) for position in positions), len(answer)]
    whole = read(answer)
    assert read(*(answer[start:end] for start, end in pairwise(cuts))) == whole
    assert read(*answer) == whole


@settings(max_examples=300, deadline=None)
@given(ANSWERS)
def test_citation_names_an_existing_passage_and_precedes_its_marker(answer: str) -> None:
    text, citations = read(answer)
    for citation in citations:
        assert 1 <= citation.passage <= PASSAGES
        assert 0 <= citation.start <= citation.end < len(text)
        assert re.match(rf"(\[\d+\])*\[{citation.passage}\]", text[citation.end :])


def test_possible_marker_is_held_back_until_it_is_complete() -> None:
    reader = CitationReader(PASSAGES)
    assert reader.feed("Dug. [") == "Dug. "
    assert reader.feed("1") == ""
    assert reader.feed("x [2") == "[1x "
    assert reader.feed(" " * 300) == "[2" + " " * 300
    assert reader.finish() == ""
    assert reader.citations == []


@pytest.mark.parametrize(
    ("answer", "text", "citations"),
    [
        ("Setts are dug. [1]", "Setts are dug. [1]", [(1, 0, 15)]),
        ("One. [1] Two. [3]", "One. [1] Two. [3]", [(1, 0, 5), (3, 8, 14)]),
        ("Both. [1][2]", "Both. [1][2]", [(1, 0, 6), (2, 9, 9)]),
        ("Both. [1, 2]", "Both. [1][2]", [(1, 0, 6), (2, 0, 6)]),
        (f"Long. [1,{' ' * 247}2]", "Long. [1][2]", [(1, 0, 6), (2, 0, 6)]),
        (f"Too long. [1,{' ' * 248}2]", f"Too long. [1,{' ' * 248}2]", []),
        ("Spaced. [ 1 ]", "Spaced. [ 1 ]", []),
        ("  Leading space. [1]", "Leading space. [1]", [(1, 0, 15)]),
        ("No marker.", "No marker.", []),
        ("An array[a] and [1", "An array[a] and [1", []),
        ("In the year [1887].", "In the year [1887].", []),
        ("Ranged. [1-3]", "Ranged. [1][2][3]", [(1, 0, 8), (2, 0, 8), (3, 0, 8)]),
        ("A foot. [^1]", "A foot. [1]", [(1, 0, 8)]),
        ("Named. [passage 1] [Source 2]", "Named. [1] [2]", [(1, 0, 7), (2, 10, 11)]),
        ("Joined. [1; 2] [1 and 3]", "Joined. [1][2] [1][3]", [(1, 0, 8), (2, 0, 8), (1, 14, 15), (3, 14, 15)]),
        ("Other brackets.【1】【2†source】", "Other brackets.[1][2]", [(1, 0, 15), (2, 18, 18)]),
        ("A link. [1](https://a.example)", "A link. [1] (https://a.example)", [(1, 0, 8)]),
        ("[1]: https://a.example", "[1] : https://a.example", [(1, 0, 0)]),
        ("In text [1]: a list", "In text [1]: a list", [(1, 0, 8)]),
        ("", "", []),
    ],
)
def test_marker_cites_the_text_before_it(answer: str, text: str, citations: list[tuple[int, int, int]]) -> None:
    assert read(answer) == (text, [Citation(*fields) for fields in citations])


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("Claimed. [4]", "Claimed. "),
        ("Claimed. [0]", "Claimed. "),
        ("Claimed. [999]", "Claimed. "),
        ("Known. [1][7]", "Known. [1]"),
        ("Known. [7, 1, 8]", "Known. [1]"),
        ("[9] Starts so.", "Starts so."),
        ("Known. [1-9]", "Known. [1][2][3]"),
        ("Claimed. [passage 9]【9】 [^9] [7-9]", "Claimed.   "),
        ("htt[9]ps://a.example", "htt ps://a.example"),
        ("[a][9](b)", "[a] (b)"),
    ],
)
def test_markers_of_unknown_passages_are_removed(answer: str, text: str) -> None:
    actual, citations = read(answer)
    assert actual == text
    assert all(1 <= citation.passage <= PASSAGES for citation in citations)


def test_without_passages_all_markers_are_removed() -> None:
    assert read("Claimed. [1][2]", passages=0) == ("Claimed. ", [])


def test_new_citations_are_returned_once() -> None:
    reader = CitationReader(2)
    reader.feed("One. [1] Two")
    assert [citation.passage for citation in reader.new_citations()] == [1]
    assert reader.new_citations() == []
    reader.feed(". [2]")
    assert reader.new_citations() == []  # the next character may make it part of a link
    reader.finish()
    assert [citation.passage for citation in reader.new_citations()] == [2]
