"""Where in a document's text a quotation stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from mindset.evaluation.golden import Evidence
from mindset.retrieval.passage import Passage

# A passage supports evidence when it holds at least this share of the quotation's characters.
LEAST_COVER = 0.5


@dataclass(frozen=True, slots=True)
class Span:
    """Characters `start` to `end` of the text at `uri`."""

    uri: str
    start: int
    end: int


def locate(evidence: Evidence, text_at: Callable[[str], str | None]) -> Span | None:
    """The quotation's place, letters and digits alone compared; None where the document does not hold it."""
    text = text_at(evidence.uri)
    if text is None:
        return None
    letters, positions = _letters(text)
    quote, _ = _letters(evidence.quote)
    at = letters.find(quote)
    if at < 0 or not quote:
        return None
    return Span(evidence.uri, positions[at], positions[at + len(quote) - 1] + 1)


def supports(passage: Passage, span: Span) -> bool:
    """Whether the passage, at any of its places, holds enough of the quotation."""
    return any(
        place.uri == span.uri
        and min(place.end, span.end) - max(place.start, span.start) >= LEAST_COVER * (span.end - span.start)
        for place in passage.places
    )


@lru_cache(maxsize=64)
def _letters(text: str) -> tuple[str, list[int]]:
    """The text's letters and digits in lower case, and where each stood."""
    kept = [(each, at) for at, each in enumerate(text) if each.isalnum()]
    # Lower case can be longer than one character; its first keeps positions aligned.
    return "".join(each.lower()[0] for each, _ in kept), [at for _, at in kept]
