"""Answers without a model: the sentences of the passages that share most with the question, quoted and cited."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from snowballstemmer import stemmer

from mindset.generation.citations import MARKER
from mindset.generation.prompt import NOT_IN_DOCUMENTS
from mindset.generation.protocol import Piece
from mindset.providers.deadline import Deadline
from mindset.retrieval.passage import Passage
from mindset.text.markdown import markdown_blocks
from mindset.text.plain import plain_text
from mindset.text.sentences import split_sentences
from mindset.text.stopwords import STOP_WORDS, word_set

# Chosen on the golden sets of both knowledge bases: the least share of the question's weight that the quoted sentences
# must hold. Higher refuses paraphrases, lower answers what the documents do not say.
MIN_SUPPORT = 0.45
# What a document has of its own of what would be read as a marker of ours: its references and footnotes.
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
    """Quotes; never invents. Thread-safe."""

    name = "extractive:extractive"

    def stream(
        self,
        question: str,
        passages: Sequence[Passage],
        deadline: Deadline | None = None,  # noqa: ARG002  # at once
    ) -> Iterator[Piece]:
        chosen = _choose(question, passages)
        if not chosen:
            yield Piece(NOT_IN_DOCUMENTS)
        for at, sentence in enumerate(chosen):
            yield Piece(f"{' ' if at else ''}{sentence.text} [{sentence.passage}]")
        yield Piece(finish_reason="stop")

    def close(self) -> None:
        """Nothing is held."""


def _choose(question: str, passages: Sequence[Passage]) -> list[_Sentence]:
    asked = _words(question)
    sentences = [each for number, passage in enumerate(passages, start=1) for each in _sentences(number, passage)]
    if not asked or not sentences:
        return []
    seen = Counter(word for sentence in sentences for word in sentence.words)
    weight = {word: math.log(1 + len(sentences) / (1 + seen[word])) for word in asked}
    whole = sum(weight.values())

    def worth(sentence: _Sentence, missing: set[str]) -> float:
        gained = sum(weight[word] for word in sentence.words & missing)
        return gained / (1 + 0.1 * (sentence.passage - 1))  # a better passage's sentence wins a tie

    chosen: list[_Sentence] = []
    missing = set(asked)
    while len(chosen) < MAX_SENTENCES:
        best = max(sentences, key=lambda each: (worth(each, missing), -each.passage, -each.order))
        if worth(best, missing) < 0.15 * whole:
            break
        chosen.append(best)
        missing -= best.words
        sentences = [each for each in sentences if each.text != best.text] or [best]
    supported = 1 - sum(weight[word] for word in missing) / whole
    return sorted(chosen, key=lambda each: (each.passage, each.order)) if supported >= MIN_SUPPORT else []


def _sentences(number: int, passage: Passage) -> Iterator[_Sentence]:
    about = _words(" ".join([passage.place.title, *passage.place.heading_path]))
    # Whole sentences of prose: a line's end is not a sentence's, and a heading is none.
    prose = (passage.text[each.start : each.end] for each in markdown_blocks(passage.text) if each.kind == "prose")
    texts = (" ".join(each.split()) for block in prose for each in split_sentences(_quotable(block)))
    for order, text in enumerate(texts):
        words = _words(text)
        if len(text.split()) >= 3 and len(text) <= MAX_SENTENCE_LENGTH and words:
            # A sentence speaks about what its headings name, without naming it again.
            yield _Sentence(number, order, text.rstrip(":").strip(), words | about)


def _quotable(block: str) -> str:
    return " ".join(_REFERENCE.sub("", plain_text(block)).split())


def _words(text: str) -> frozenset[str]:
    # A stemmer of one's own: Snowball's keep state while they stem, and this runs in many threads.
    stem = stemmer("english").stemWord
    return frozenset(stem(word) for word in re.findall(r"\w+", text.lower()) if word not in _STOP)
