"""Words: what full-text search matches, the same for documents and for questions.

Two analyses exist: `words/2`, which new versions are built with, and `words/1`, which earlier releases built theirs with."""

from __future__ import annotations

from functools import cache
from typing import Protocol

import regex

from mindset.errors import ConfigurationError
from mindset.text.identifiers import analyze_token
from mindset.text.stems import LANGUAGES, Stems
from mindset.text.words_1 import FirstWordAnalyzer

__all__ = ["LANGUAGES", "WordAnalyzer", "analyzer_named", "word_analyzer"]

# A text of millions of words repeats most of its tokens; longer ones are hardly ever repeated. About 100 MB.
_MAX_CACHED_TOKENS, _MAX_CACHED_LENGTH = 300_000, 40

# Scripts without spaces are wrapped within words.
_WRAPPED = regex.compile(r"(?<=[\p{Han}\p{Hiragana}\p{Katakana}])\n(?=[\p{Han}\p{Hiragana}\p{Katakana}])")


class WordAnalyzer(Protocol):
    """Splits texts of one language into words. Thread-safe. Get one with `word_analyzer` or `analyzer_named`."""

    name: str
    """Identifies the analysis. Texts and questions can be compared only if it is the same for both, so the number must
    change whenever the words of a text change."""

    title_weight: int
    """How often the words of titles and headings count."""

    def words(self, text: str) -> list[str]:
        """Return the words of a text: normalized, in lower case, and reduced to their stems."""
        ...

    def analyze(self, text: str) -> tuple[list[str], int]:
        """Return the words of a text, and the text's length in words.

        The length does not count what repeats other words, such as `ppx9087` beside `ppx` and `9087`."""
        ...

    def stem(self, word: str) -> str:
        """Return the stem of a word in lower case."""
        ...


class _WordAnalyzer:
    # Chosen on this project's documentation; 3 was no better.
    title_weight = 2

    def __init__(self, language: str) -> None:
        self.name = f"words/2:{language}"
        self._english = language == "english"
        self._stems = Stems(language)
        self._tokens: dict[str, tuple[tuple[str, ...], int]] = {}

    def words(self, text: str) -> list[str]:
        return self.analyze(text)[0]

    def analyze(self, text: str) -> tuple[list[str], int]:
        if not text.isascii():
            text = _WRAPPED.sub("", text)
        words: list[str] = []
        length = 0
        known = self._tokens.get
        for token in text.split():
            found, count = known(token) or self._analyze(token)
            words += found
            length += count
        return words, length

    def stem(self, word: str) -> str:
        return self._stems.stem(word)

    def _analyze(self, text: str) -> tuple[tuple[str, ...], int]:
        token = analyze_token(text, contractions=self._english)
        stem = self._stems.stem
        words = [stem(word) for word in token.words]
        # A whole without separators may be written as a word elsewhere: "e-mails" and "emails".
        wholes = [stem(whole) if whole.isalnum() else whole for whole in token.wholes]
        found = (*words, *token.grams, *wholes), len(words) + len(token.grams)
        if len(text) <= _MAX_CACHED_LENGTH:
            if len(self._tokens) > _MAX_CACHED_TOKENS:
                # Replaced, not cleared, because another thread may be reading it.
                self._tokens = {}
            self._tokens[text] = found
        return found


@cache
def word_analyzer(language: str) -> WordAnalyzer:
    """Return the analyzer of a language, which must be one of LANGUAGES, that new versions are built with."""
    return _WordAnalyzer(language)


@cache
def _first_word_analyzer(language: str) -> WordAnalyzer:
    return FirstWordAnalyzer(language)


def analyzer_named(name: str) -> WordAnalyzer:
    """Return the analyzer of this name, which a version was built with.

    Raises ConfigurationError if this release does not have it."""
    kind, _, language = name.partition(":")
    analyzers = {"words/1": _first_word_analyzer, "words/2": word_analyzer}
    if kind not in analyzers or language not in LANGUAGES:
        raise ConfigurationError(
            f"A version was built with the word analysis {name!r}, which this release of Product Mindset does not have. "
            "Run a night, which builds a version with the current one, or use the release that built it."
        )
    return analyzers[kind](language)
