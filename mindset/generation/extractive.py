"""Extractive answers, written without a language model: quote and cite what shares most words and meaning with the question."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from mindset.embedding.wordllama import WordLlamaEmbedder
from mindset.generation.prompt import NOT_IN_DOCUMENTS, label
from mindset.generation.protocol import Piece
from mindset.generation.quotations import Unit, units
from mindset.providers.deadline import Deadline
from mindset.retrieval.passage import Passage
from mindset.text.languages import stop_words
from mindset.text.words import word_analyzer

# An answer is supported by the share of the question's word weights that its quotations contain, plus the greatest cosine
# similarity between the question and a quotation. All numbers were chosen on this project's
# documentation: its golden set, and questions about the 18F guides, which it does not answer.
MIN_SUPPORT = 0.9
# The similarity of a static model says nothing in other languages than English, so only words count there.
MIN_SUPPORT_BY_WORDS = 0.45
_SIMILARITY_WEIGHT = 0.5
# Each further quotation must contain this share of the weights that the others lack.
_MIN_GAIN = 0.1
# Endings and particles of Japanese, which are written without spaces.
_HIRAGANA = re.compile(r"[\u3040-\u309f]+")
MAX_QUOTATIONS = 3
MAX_ITEMS = 8
"""Most items of a list that are quoted together with the sentence that introduces them."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    passage: int
    order: int
    unit: Unit
    words: frozenset[str]
    """Those of the unit."""
    about: frozenset[str]
    """Those of the unit, of what introduces it, and of its title and headings, which say what it is about."""


class ExtractiveGenerator:
    """A generator that only quotes. It never fails. Thread-safe."""

    name = "extractive:extractive"

    def stream(
        self,
        question: str,
        passages: Sequence[Passage],
        deadline: Deadline | None = None,  # noqa: ARG002  # not needed
    ) -> Iterator[Piece]:
        chosen = _choose(question, passages)
        if not chosen:
            yield Piece(NOT_IN_DOCUMENTS)
        previous: _Candidate | None = None
        for candidate in chosen:
            text = _quotation(candidate, passages[candidate.passage - 1], led_by=previous)
            separator = (
                "" if previous is None else " " if "\n" not in text and previous.unit.kind == "sentence" else "\n\n"
            )
            yield Piece(separator + text, quoted_from=candidate.passage)
            previous = candidate
        yield Piece(finish_reason="stop")

    def close(self) -> None:
        """Do nothing: there is nothing to close."""


def _choose(question: str, passages: Sequence[Passage]) -> list[_Candidate]:
    """Choose greedily the units that contain most of the question's words, weighted by their rarity, and resemble it."""
    candidates = [
        candidate for number, passage in enumerate(passages, start=1) for candidate in _candidates(number, passage)
    ]
    languages = {passage.language for passage in passages}
    wanted = frozenset[str]().union(*(_words(question, language) for language in languages))
    if not wanted or not candidates:
        return []
    frequency = Counter(word for candidate in candidates for word in candidate.about)
    weight = {word: math.log(1 + len(candidates) / (1 + frequency[word])) for word in wanted}
    total = sum(weight.values())
    by_meaning = languages == {"english"}
    similarity = _similarities(question, candidates, passages) if by_meaning else [0.0] * len(candidates)
    missing = set(wanted)

    def share(words: Set[str]) -> float:
        return sum(weight[word] for word in words) / total

    def rank(number: int) -> tuple[float, float, int]:
        # Words of the unit itself decide between units under the same heading. Better passages come first.
        candidate = candidates[number]
        gain = share(candidate.about & missing) + _SIMILARITY_WEIGHT * similarity[number]
        return round(gain / (1 + 0.1 * (candidate.passage - 1)), 9), share(candidate.words & wanted), -number

    remaining = set(range(len(candidates)))
    chosen: list[int] = []
    while len(chosen) < MAX_QUOTATIONS and remaining:
        best = max(remaining, key=rank)
        if chosen and share(candidates[best].about & missing) < _MIN_GAIN:
            break
        chosen.append(best)
        missing -= candidates[best].about
        remaining = {number for number in remaining if candidates[number].unit.text != candidates[best].unit.text}
    support = 1 - share(missing) + max(similarity[number] for number in chosen)
    if support < (MIN_SUPPORT if by_meaning else MIN_SUPPORT_BY_WORDS) or len(missing) == len(wanted):
        return []
    return [candidates[number] for number in sorted(chosen)]


def _similarities(question: str, candidates: Sequence[_Candidate], passages: Sequence[Passage]) -> list[float]:
    """Return the cosine similarity of the question with each unit, its headings and what introduces it."""
    vector = _vector(question)
    texts = (
        " ".join([label(passages[candidate.passage - 1]), candidate.unit.lead, candidate.unit.text])
        for candidate in candidates
    )
    return [max(float(_vector(text) @ vector), 0.0) for text in texts]


@lru_cache(maxsize=16_384)  # about 20 MB; the same passages are found again and again
def _vector(text: str) -> NDArray[np.float32]:
    return WordLlamaEmbedder().embed_query(text)


def _candidates(number: int, passage: Passage) -> Iterator[_Candidate]:
    headings = _words(" \n ".join([passage.place.title, *passage.place.heading_path]), passage.language)
    for order, unit in enumerate(units(passage.original or passage.text, passage.media_type, passage.language)):
        words = _words(unit.text, passage.language)
        if words:
            yield _Candidate(number, order, unit, words, words | headings | _words(unit.lead, passage.language))


def _quotation(candidate: _Candidate, passage: Passage, led_by: _Candidate | None) -> str:
    """Return the unit with what belongs to it: a sentence with the list or code that it introduces, a row with its header."""
    unit = candidate.unit
    lead = "" if led_by and led_by.unit.text == unit.lead else unit.lead
    if unit.kind == "sentence":
        following = [
            other
            for other in units(passage.original or passage.text, passage.media_type, passage.language)
            if other.lead == unit.text
        ]
        items = [_shown(other) for other in following if other.block == following[0].block][:MAX_ITEMS]
        return "\n".join([unit.text, *items])
    return "\n".join(filter(None, [lead, _shown(unit)]))


def _shown(unit: Unit) -> str:
    if unit.kind == "code":
        fence = "````" if "```" in unit.text else "```"
        return f"{fence}\n{unit.text}\n{fence}\n"
    return f"- {unit.text}" if unit.kind == "item" else unit.text


def _words(text: str, language: str) -> frozenset[str]:
    analyzer, ignored = word_analyzer(language), _ignored(language)
    return frozenset(word for word in analyzer.words(text) if word not in ignored and not _HIRAGANA.fullmatch(word))


@cache
def _ignored(language: str) -> frozenset[str]:
    stem = word_analyzer(language).stem
    return stop_words(language) | frozenset(stem(word) for word in stop_words(language))
