"""Words: what full-text search matches, the same for documents and for questions."""

from __future__ import annotations

import threading
import unicodedata
from functools import cache

import regex
import Stemmer

from mindset.errors import ConfigurationError

LANGUAGES = ("simple", *sorted(Stemmer.algorithms()))
"""The languages whose words can be reduced to stems. `simple` reduces none, so it fits every language."""

# Letters and digits of all scripts with their combining marks; an apostrophe joins, as in "don't".
_WORD = regex.compile(r"[\p{L}\p{N}\p{M}]+(?:'[\p{L}\p{N}\p{M}]+)*")

# About 100 MB. A corpus has more distinct words only if most of them occur once.
_MAX_CACHED_STEMS = 1_000_000


class WordAnalyzer:
    """Splits texts of one language into words. Thread-safe. Create it with `word_analyzer`."""

    def __init__(self, language: str) -> None:
        self.name = f"words/1:{language}"
        """Identifies the analysis. Texts and questions can be compared only if it is the same for both, so the number
        must change whenever the words of a text change."""
        self._stemmer = None if language == "simple" else Stemmer.Stemmer(language)
        self._lock = threading.Lock()  # a stemmer must not be used by two threads at once
        self._stems: dict[str, str] = {}

    def words(self, text: str) -> list[str]:
        """Return the words of a text in order: normalized (NFKC), in lower case, and reduced to their stems."""
        normalized = unicodedata.normalize("NFKC", text).replace("\u2019", "'").casefold()
        # The lower case of a Turkish capital I with a dot is an i with another dot.
        found: list[str] = _WORD.findall(normalized.replace("i\u0307", "i"))
        if self._stemmer is None:
            return found
        stems = self._stems
        return [stems.get(word) or self.stem(word) for word in found]

    def stem(self, word: str) -> str:
        """Return the stem of a word in lower case."""
        if self._stemmer is None:
            return word
        with self._lock:
            if len(self._stems) > _MAX_CACHED_STEMS:
                # Replaced, not cleared, because another thread may be reading it.
                self._stems = {}
            stem: str = self._stemmer.stemWord(word)
            self._stems[word] = stem
        return stem


@cache
def word_analyzer(language: str) -> WordAnalyzer:
    """Return the analyzer of a language, which must be one of LANGUAGES."""
    return WordAnalyzer(language)


def analyzer_named(name: str) -> WordAnalyzer:
    """Return the analyzer of this name, which a version was built with.

    Raises ConfigurationError if this release does not have it."""
    kind, _, language = name.partition(":")
    if kind != "words/1" or language not in LANGUAGES:
        raise ConfigurationError(
            f"A version was built with the word analysis {name!r}, which this release of Product Mindset does not have. "
            "Run a night, which builds a version with the current one, or use the release that built it."
        )
    return word_analyzer(language)
