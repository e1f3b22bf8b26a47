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
        ("english", "Don\u2019t STOP: it's 3.5", ["don't", "stop", "it", "3", "5", "3.5"]),
        ("german", "Die H\u00e4user stra\u00dfe", ["die", "haus", "strass"]),
        ("french", "l'eau", ["l", "eau", "leau"]),
        ("simple", "running Runners", ["running", "runners"]),
        ("english", "\ufb01nance \uff21\uff22\uff23", ["financ", "abc"]),  # a ligature, and full-width letters
        (
            "simple",
            "\u0939\u093f\u0928\u094d\u0926\u0940",
            ["\u0939\u093f\u0928\u094d\u0926\u0940"],
        ),  # with vowel signs
        ("english", "--- *** \u2014 | --- |", []),
        ("simple", "\u72ac", ["\u72ac"]),  # one character alone
        ("simple", "\u72ac\u3068\u732b", ["\u72ac\u3068", "\u3068\u732b", "\u72ac", "\u732b"]),
        ("simple", "\ud559\uad50\uc5d0", ["\ud559\uad50", "\uad50\uc5d0"]),
    ],
)
def test_words(language: str, text: str, expected: list[str]) -> None:
    assert word_analyzer(language).words(text) == expected


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("QTR-4711", "qtr 4711"),
        ("QTR-4711", "QTR4711"),
        ("QTR4711", "number 4711"),
        ("LIB_4711_X", "lib 4711"),
        ("start/stop", "stop"),
        ("start/stop", "start/stop"),
        ("x.y.zeta", "zeta"),
        ("x.y.zeta", "x.y.zeta"),
        ("max_retry_count", "retry count"),
        ("parseHeader", "parse header"),
        ("XMLHttpRequest", "xml http request"),
        ("src/net/socket_pool.rs", "socket pool"),
        ("src/net/socket_pool.rs", "socket_pool.rs"),
        ("version v3", "version 3"),
        ("ann.lee@mail.example.net", "ann.lee@mail.example.net"),
        ("ann.lee@mail.example.net", "lee"),
        ("https://example.net/a/guide-to-x?page=2", "guide-to-x"),
        ("Vue.js", "vue"),
        ("web-site", "website"),
        ("12,500", "12500"),
        ("Straf\u2010Zettel", "Straf-Zettel"),
        ("C\\# and J\\#", "C#"),
        ("the flag `--dry-run`", "--dry-run"),
        ("$PATH", "$PATH"),
        ("@property", "@property"),
        ("a ?? b", "What does ?? mean?"),
        ("x**2", "`**`"),
        ("`%`", "What is '%'?"),
        ("our IT department", "IT"),
        ("\u6771\u4eac\u30bf\u30ef\u30fc", "\u6771\u4eac"),
        ("\u30bf\u30ef\u30fc", "\uff80\uff9c\uff70"),  # half-width
        ("\u6771\n\u4eac", "\u6771\u4eac"),  # wrapped within a word
        ("Excel\u8868\u306e", "excel"),
        ("\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e04\u0e23\u0e31\u0e1a", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35"),
    ],
)
def test_text_is_found_as_people_write_it(written: str, asked: str) -> None:
    words = word_analyzer("english").words
    operators = {"what", "doe", "mean", "is", "number"}
    assert set(words(asked)) - operators <= set(words(f"See ({written}), too."))


@pytest.mark.parametrize(
    ("written", "asked", "common"), [("v4.1.12", "4.1.12", "4.1.12"), ("website", "web-site", "websit")]
)
def test_a_name_is_found_as_a_whole(written: str, asked: str, common: str) -> None:
    words = word_analyzer("english").words
    assert common in words(written)
    assert common in words(asked)


@pytest.mark.parametrize(
    ("text", "other"),
    [("C++", "C"), ("C#", "C"), ("C", "C++"), ("F#", "f"), (".NET", "net"), ("JavaScript", "Java"), ("NET", ".NET")],
)
def test_names_with_signs_are_words_of_their_own(text: str, other: str) -> None:
    words = word_analyzer("english").words
    assert words(text)[0] not in words(other)


@pytest.mark.parametrize("word", ["it", "us", "who", "c"])
def test_acronyms_are_more_than_the_word(word: str) -> None:
    words = word_analyzer("english").words
    assert set(words(word)) < set(words(word.upper()))


@pytest.mark.parametrize(
    ("text", "length"),
    [("QTR-4711", 2), ("a/b/c.py", 4), ("max_retry_count", 3), ("IT", 1), ("x != y", 2), ("\u6771\u4eac\u90fd", 2)],
)
def test_repetitions_do_not_make_a_text_longer(text: str, length: int) -> None:
    assert word_analyzer("english").analyze(text)[1] == length


@given(st.text(), st.sampled_from(["simple", "english", "german", "arabic"]))
def test_decomposed_text_has_the_same_words(text: str, language: str) -> None:
    words = word_analyzer(language).words
    assert words(unicodedata.normalize("NFD", text)) == words(unicodedata.normalize("NFC", text))


@given(st.text("aB1_-./:#+$@'*\\ \u00e9\u6771\u30bf\n"))
def test_words_of_two_texts_are_those_of_both(text: str) -> None:
    words, length = word_analyzer("english").analyze(text)
    again, doubled = word_analyzer("english").analyze(f"{text} {text}")
    assert (again, doubled) == (words * 2, length * 2)
    assert length <= len(words)


@given(st.lists(st.from_regex(r"[a-z]{2,8}", fullmatch=True), min_size=2, max_size=6), st.sampled_from("-_./:@"))
def test_parts_of_a_compound_are_words(parts: list[str], separator: str) -> None:
    words = word_analyzer("simple").words
    assert set(parts) <= set(words(separator.join(parts)))


@pytest.mark.parametrize(
    "unit",
    ["a", "aB", "a-", "a/", "a'", "**", "a+", "\u6771", "`*`", "(", "a1", "\u0301", "$a", "1,", "a.", "A\u0301b"],
)
def test_work_on_a_long_token_is_linear(unit: str) -> None:
    """The number of words is a measure of the work: the whole of a long token is left out, not repeated."""
    analyzer = word_analyzer("english")
    for size in (2_000, 20_000):
        words = analyzer.words(unit * size)
        assert sum(map(len, words)) <= 6 * len(unit) * size + 100


@pytest.mark.parametrize("language", LANGUAGES)
def test_stored_name_leads_to_the_same_analyzer(language: str) -> None:
    analyzer = word_analyzer(language)
    assert analyzer_named(analyzer.name) is analyzer
    assert analyzer.words("one two")


def test_first_analysis_is_unchanged() -> None:
    analyzer = analyzer_named("words/1:english")
    expected = ["ppx", "9087", "read", "write", "loadrost", "c", "\u6771\u4eac\u90fd", "don't"]
    assert analyzer.name == "words/1:english"
    assert analyzer.analyze("PPX-9087 read/write loadRoster C++ \u6771\u4eac\u90fd don\u2019t") == (expected, 8)


@pytest.mark.parametrize("name", ["words/3:english", "words/2:klingon", "words/1:klingon", "", "words/2"])
def test_analysis_of_another_release_is_reported(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"Run a night"):
        analyzer_named(name)


def test_threads_get_the_same_stems() -> None:
    text = " ".join(f"running{number} houses{number}ing" for number in range(2_000))
    expected = word_analyzer.__wrapped__("english").words(text)  # type: ignore[attr-defined,unused-ignore]
    shared = word_analyzer.__wrapped__("english")  # type: ignore[attr-defined,unused-ignore]
    with ThreadPoolExecutor(8) as threads:
        assert all(words == expected for words in threads.map(shared.words, [text] * 16))
