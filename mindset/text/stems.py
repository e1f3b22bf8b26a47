"""Stems of words, by Snowball."""

from __future__ import annotations

import threading

import Stemmer

LANGUAGES = ("simple", *sorted(Stemmer.algorithms()))
"""The languages whose words can be reduced to stems. `simple` reduces none, so it fits every language."""

# About 100 MB. A corpus has more distinct words only if most of them occur once.
_MAX_CACHED_STEMS = 1_000_000


class Stems:
    """The stems of one language, which must be one of LANGUAGES. Thread-safe."""

    def __init__(self, language: str) -> None:
        self._stemmer = None if language == "simple" else Stemmer.Stemmer(language)
        self._lock = threading.Lock()  # a stemmer must not be used by two threads at once
        self._stems: dict[str, str] = {}

    def stem(self, word: str) -> str:
        """Return the stem of a word in lower case."""
        return self._stems.get(word) or self._compute(word)

    def _compute(self, word: str) -> str:
        if self._stemmer is None:
            return word
        with self._lock:
            if len(self._stems) > _MAX_CACHED_STEMS:
                # Replaced, not cleared, because another thread may be reading it.
                self._stems = {}
            stem: str = self._stemmer.stemWord(word)
            self._stems[word] = stem
        return stem
