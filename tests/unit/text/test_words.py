"""Tests of the words of texts and questions."""

from __future__ import annotations

import unicodedata
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mindset.errors import ConfigurationError
from mindset.text.words import LANGUAGES, analyzer_named, word_analyzer


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("english", "The runners were running.", ["the", "runner", "were", "run"]),
        ("english", "Don\u2019t STOP: it's 3.5 x_y", ["don't", "stop", "it", "3", "5", "x", "y"]),
        ("german", "Die H\u00e4user stra\u00dfe", ["die", "haus", "strass"]),
        ("simple", "running Runners", ["running", "runners"]),
        ("english", "\ufb01nance \uff21\uff22\uff23", ["financ", "abc"]),  # a ligature, and full-width letters
        (
            "simple",
            "\u0939\u093f\u0928\u094d\u0926\u0940",
            ["\u0939\u093f\u0928\u094d\u0926\u0940"],
        ),  # with vowel signs
        ("english", "--- *** \u2014", []),
    ],
)
def test_words(language: str, text: str, expected: list[str]) -> None:
    assert word_analyzer(language).words(text) == expected


@given(st.text(), st.sampled_from(["simple", "english", "german", "arabic"]))
def test_decomposed_text_has_the_same_words(text: str, language: str) -> None:
    words = word_analyzer(language).words
    assert words(unicodedata.normalize("NFD", text)) == words(unicodedata.normalize("NFC", text))


@pytest.mark.parametrize("language", LANGUAGES)
def test_stored_name_leads_to_the_same_analyzer(language: str) -> None:
    analyzer = word_analyzer(language)
    assert analyzer_named(analyzer.name) is analyzer
    assert analyzer.words("one two")


@pytest.mark.parametrize("name", ["words/2:english", "words/1:klingon", "", "words/1"])
def test_analysis_of_another_release_is_reported(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"Run a night"):
        analyzer_named(name)


def test_threads_get_the_same_stems() -> None:
    text = " ".join(f"running{number} houses{number}ing" for number in range(2_000))
    expected = word_analyzer.__wrapped__("english").words(text)
    shared = word_analyzer.__wrapped__("english")
    with ThreadPoolExecutor(8) as threads:
        assert all(words == expected for words in threads.map(shared.words, [text] * 16))
