"""Tests of locating evidence in documents and passages."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindset.evaluation.evidence import Span, locate, supports
from mindset.evaluation.golden_set import Evidence
from mindset.retrieval.passage import Passage, Place
from mindset.text.normalization import normalize

TEXT = "# Piers\n\nThe **ferry** sails\nat `eight`, every day (but Sunday).\n\nThe ferry sails at ten on Sunday.\n"


def locate_text(quote: str, text: str | None = TEXT) -> str | None:
    span = locate(Evidence(uri="a.md", quote=quote), lambda _: text)
    return None if span is None or text is None else text[span.start : span.end]


@pytest.mark.parametrize(
    "quote",
    [
        "The **ferry** sails\nat `eight`",
        "The ferry sails at eight",
        "the  ferry\tsails\n\nat eight.",
        "THE FERRY SAILS AT *EIGHT*!",
        "Theferrysailsateight",
    ],
)
def test_quote_matches_regardless_of_markup_white_space_and_case(quote: str) -> None:
    assert locate_text(quote) == "The **ferry** sails\nat `eight"


def test_first_occurrence_is_returned() -> None:
    assert locate(Evidence(uri="a.md", quote="Sunday"), lambda _: TEXT) == Span("a.md", 56, 62)


@pytest.mark.parametrize("quote", ["The ferry sails at nine", "eight every night", "...", "– – –"])
def test_text_that_does_not_occur_is_not_located(quote: str) -> None:
    assert locate_text(quote) is None


def test_nothing_is_located_without_a_document() -> None:
    assert locate_text("The ferry", None) is None


def test_letters_with_longer_lower_case_do_not_shift_offsets() -> None:
    assert locate_text("İstanbul ferry", "See İİİ: the İSTANBUL ferry.") == "İSTANBUL ferry"


@settings(max_examples=150, deadline=None)
@given(st.text(min_size=1, max_size=60).map(normalize), st.data())
def test_every_part_of_a_text_is_located(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    quote = text[start : data.draw(st.integers(start, len(text)))]
    letters = [character for character in quote if character.isalnum()]
    span = locate(Evidence.model_construct(uri="a.md", quote=quote), lambda _: text)
    assert (span is not None) == bool(letters)
    if span:
        assert len([character for character in text[span.start : span.end] if character.isalnum()]) == len(letters)


def passage(*places: tuple[str, int, int]) -> Passage:
    return Passage(1, ("c",), "", tuple(Place(uri, "", "", (), 0, start, end) for uri, start, end in places))


@pytest.mark.parametrize(
    ("places", "supported"),
    [
        ([("a.md", 0, 300)], True),
        ([("a.md", 100, 200)], True),
        ([("a.md", 0, 150)], True),  # the first half
        ([("a.md", 150, 300)], True),  # the second half
        ([("a.md", 0, 149)], False),
        ([("a.md", 151, 300)], False),
        ([("a.md", 0, 50)], False),
        ([("b.md", 0, 300)], False),
        ([("b.md", 0, 9), ("a.md", 100, 200)], True),  # at its second place
        ([("a.md", 100, 130), ("a.md", 140, 170)], False),  # halves at two places do not add up
    ],
)
def test_passage_supports_evidence_that_it_contains_half_of(
    places: list[tuple[str, int, int]], supported: bool
) -> None:
    assert supports(passage(*places), Span("a.md", 100, 200)) == supported
