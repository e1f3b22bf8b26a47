"""The first analysis, `words/1`. It is frozen, because versions that were built with it stay searchable."""

from __future__ import annotations

import unicodedata

import regex

from mindset.text.stems import Stems

# Letters and digits of all scripts with their combining marks; an apostrophe joins, as in "don't".
_WORD = regex.compile(r"[\p{L}\p{N}\p{M}]+(?:'[\p{L}\p{N}\p{M}]+)*")


class FirstWordAnalyzer:
    """Splits texts at everything that is neither letter nor digit. Thread-safe."""

    def __init__(self, language: str) -> None:
        self.name = f"words/1:{language}"
        """Identifies the analysis."""
        self._stems = Stems(language)

    title_weight = 1

    def words(self, text: str) -> list[str]:
        """Return the words of a text in order: normalized (NFKC), in lower case, and reduced to their stems."""
        normalized = unicodedata.normalize("NFKC", text).replace("\u2019", "'").casefold()
        # The lower case of a Turkish capital I with a dot is an i with another dot.
        found: list[str] = _WORD.findall(normalized.replace("i\u0307", "i"))
        return [self._stems.stem(word) for word in found]

    def stem(self, word: str) -> str:
        """Return the stem of a word in lower case."""
        return self._stems.stem(word)

    def analyze(self, text: str) -> tuple[list[str], int]:
        """Return the words of a text and their number."""
        words = self.words(text)
        return words, len(words)
