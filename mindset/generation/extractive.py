"""Extractive answers, written without a model: quote and cite the sentences that share most words with the question."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mindset.generation.citations import MARKER
from mindset.generation.prompt import NOT_IN_DOCUMENTS
from mindset.generation.protocol import Piece
from mindset.providers.deadline import Deadline
from mindset.retrieval.passage import Passage
from mindset.text.markdown import markdown_blocks
from mindset.text.plain import plain_text
from mindset.text.sentences import split_sentences
from mindset.text.stopwords import STOP_WORDS, word_set
from mindset.text.words import word_analyzer

# Minimum share of the question's word weights that the quoted sentences must contain. Chosen on the golden sets of both
# knowledge bases: with a higher value paraphrases get no answer, with a lower one questions beyond the documents do.
MIN_SUPPORT = 0.45
# References and footnotes of a document, which would be mistaken for citations.
_REFERENCE = re.compile(rf"\s*(?:{MARKER.pattern})", MARKER.flags)
MAX_SENTENCES = 3
MAX_SENTENCE_LENGTH = 600

_STOP = STOP_WORDS | word_set("""
    above after again also because before being below between both doing down during each few further having he
    her here hers him his it its itself just make makes many may might more most need needs nor off once one
    only other ours out over own same say says she that their theirs them then there these they this those
    through too under until very while yours
""")


@dataclass(frozen=True, slots=True)
class _Sentence:
    passage: int
    order: int
    text: str
    words: frozenset[str]


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
        for position, sentence in enumerate(chosen):
            yield Piece(f"{' ' if position else ''}{sentence.text} [{sentence.passage}]")
        yield Piece(finish_reason="stop")

    def close(self) -> None:
        """Do nothing: there is nothing to close."""


def _choose(question: str, passages: Sequence[Passage]) -> list[_Sentence]:
    """Choose greedily the sentences that cover most of the question's words, weighted by their rarity."""
    question_words = _words(question)
    sentences = [
        sentence for number, passage in enumerate(passages, start=1) for sentence in _sentences(number, passage)
    ]
    if not question_words or not sentences:
        return []
    frequency = Counter(word for sentence in sentences for word in sentence.words)
    weight = {word: math.log(1 + len(sentences) / (1 + frequency[word])) for word in question_words}
    total = sum(weight.values())

    def gain(sentence: _Sentence, missing: set[str]) -> float:
        covered = sum(weight[word] for word in sentence.words & missing)
        return covered / (1 + 0.1 * (sentence.passage - 1))  # prefer sentences of better passages

    chosen: list[_Sentence] = []
    missing = set(question_words)
    while len(chosen) < MAX_SENTENCES:
        best = max(sentences, key=lambda sentence: (gain(sentence, missing), -sentence.passage, -sentence.order))
        if gain(best, missing) < 0.15 * total:
            break
        chosen.append(best)
        missing -= best.words
        sentences = [sentence for sentence in sentences if sentence.text != best.text] or [best]
    support = 1 - sum(weight[word] for word in missing) / total
    if support < MIN_SUPPORT:
        return []
    return sorted(chosen, key=lambda sentence: (sentence.passage, sentence.order))


def _sentences(number: int, passage: Passage) -> Iterator[_Sentence]:
    heading_words = _words(" ".join([passage.place.title, *passage.place.heading_path]))
    # Only prose: headings, tables and code contain no sentences.
    prose = (passage.text[block.start : block.end] for block in markdown_blocks(passage.text) if block.kind == "prose")
    texts = (" ".join(sentence.split()) for block in prose for sentence in split_sentences(_quotable(block)))
    for order, text in enumerate(texts):
        words = _words(text)
        if len(text.split()) >= 3 and len(text) <= MAX_SENTENCE_LENGTH and words:
            # A sentence is about the subject of its headings even if it does not name it.
            yield _Sentence(number, order, text.rstrip(":").strip(), words | heading_words)


def _quotable(block: str) -> str:
    return " ".join(_REFERENCE.sub("", plain_text(block)).split())


def _words(text: str) -> frozenset[str]:
    words = (word for word in re.findall(r"\w+", text.lower()) if word not in _STOP)
    return frozenset(word_analyzer("english").stem(word) for word in words)
