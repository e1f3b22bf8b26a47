"""Tests of sentence splitting."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindset.text.sentences import split_sentences
from tests.unit.chunking.documents import DOCUMENTS

_PIECES = [
    "A",
    "b",
    ".",
    "!",
    "?",
    "…",
    '"',
    "(",
    ")",
    " ",
    "\u00a0",
    "\u3000",
    "\n",
    "\n\n",
    "1",
    "Dr",
    "e.g.",
    "é",
    "世。",
    "🌍",
]


@settings(max_examples=300, deadline=None)
@given(st.one_of(DOCUMENTS, st.text(max_size=80), st.lists(st.sampled_from(_PIECES), max_size=40).map("".join)))
def test_joined_sentences_equal_the_text(text: str) -> None:
    sentences = list(split_sentences(text))
    assert "".join(sentences) == text
    assert all(sentences)


def test_abbreviations_do_not_end_a_sentence_and_trailing_space_is_kept() -> None:
    text = "Dr. Smith sails at 8.30 a.m. from pier 3.  Does e.g. Ann? Yes! Then."
    assert list(split_sentences(text)) == [
        "Dr. Smith sails at 8.30 a.m. from pier 3.  ",
        "Does e.g. Ann? ",
        "Yes! ",
        "Then.",
    ]


@pytest.mark.parametrize("space", ["\u00a0", "\u2003", "\u3000"])
def test_non_ascii_space_before_a_full_stop_does_not_crash(space: str) -> None:
    assert "".join(split_sentences(f"Plan A{space}. Plan B.")) == f"Plan A{space}. Plan B."
