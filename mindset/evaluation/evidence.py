"""Locating quoted evidence in documents, and matching passages with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from mindset.evaluation.golden_set import Evidence
from mindset.retrieval.passage import Passage

# A passage supports evidence if it contains at least this fraction of the quotation's characters.
MIN_COVERAGE = 0.5


@dataclass(frozen=True, slots=True)
class Span:
    """Characters `start` to `end` of the text at `uri`."""

    uri: str
    start: int
    end: int


def locate(evidence: Evidence, text_at: Callable[[str], str | None]) -> Span | None:
    """Return the position of a quotation, comparing letters and digits only; None if the document does not contain it."""
    text = text_at(evidence.uri)
    if text is None:
        return None
    letters, positions = _letters(text)
    quote, _ = _letters(evidence.quote)
    start = letters.find(quote)
    if start < 0 or not quote:
        return None
    return Span(evidence.uri, positions[start], positions[start + len(quote) - 1] + 1)


def supports(passage: Passage, span: Span) -> bool:
    """Return whether the passage contains enough of the quotation at any of its places."""
    return any(
        place.uri == span.uri
        and min(place.end, span.end) - max(place.start, span.start) >= MIN_COVERAGE * (span.end - span.start)
        for place in passage.places
    )


@lru_cache(maxsize=64)
def _letters(text: str) -> tuple[str, list[int]]:
    """Return the text's letters and digits in lower case, and the position of each."""
    kept = [(character, position) for position, character in enumerate(text) if character.isalnum()]
    # A lower-case form can be longer than one character; taking the first keeps positions aligned.
    return "".join(character.lower()[0] for character, _ in kept), [position for _, position in kept]
