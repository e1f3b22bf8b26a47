"""The documents to ingest: Markdown recombined from real sentences, and their changes. All contestants get the same."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

SECTIONS = 8
MIN_SENTENCES = 1_000
_PARAGRAPHS = 3
_PARAGRAPH_CHARACTERS = 400
# A section's sentences come from one passage of the real text, so that they share a topic.
_STRETCH = 60
_DOCUMENTS_PER_FOLDER = 100


class Corpus:
    """A folder of numbered documents of about ten chunks each.

    A document's text depends only on its number and state, so that the same change can be repeated."""

    def __init__(self, folder: Path, documents: int, sentences: Sequence[str]) -> None:
        self.folder, self.documents = folder, documents
        self._sentences = sentences

    def write(self, numbers: Sequence[int], state: int = 0) -> None:
        """Write these documents in this state. Two states of a document differ in one paragraph."""
        for number in numbers:
            file = self.folder / uri(number)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self._text(number, state), encoding="utf-8")

    def delete(self, numbers: Sequence[int]) -> None:
        """Delete these documents."""
        for number in numbers:
            (self.folder / uri(number)).unlink()

    def sample(self, fraction: float, offset: int) -> list[int]:
        """Return this fraction of the document numbers, at least one, evenly spaced. Other offsets: disjoint samples."""
        count = max(1, round(self.documents * fraction))
        step = self.documents // count
        assert offset < step, f"{self.documents} documents are too few"
        return [offset + position * step for position in range(count)]

    def _text(self, number: int, state: int) -> str:
        choose = random.Random(number)
        parts = [f"# Report {number}: {self._title(choose)}"]
        for section in range(SECTIONS):
            parts.append(f"## {section + 1}. {self._title(choose)}")
            stretch = self._stretch(choose)
            parts += [self._paragraph(choose, stretch) for _ in range(_PARAGRAPHS)]
        edited = random.Random(f"{number} {state}")
        parts[2 + SECTIONS // 2 * (_PARAGRAPHS + 1) + 1] = (
            f"{marker(number, state)} {self._paragraph(edited, self._stretch(edited))}"
        )
        return "\n\n".join(parts) + "\n"

    def _title(self, choose: random.Random) -> str:
        return " ".join(choose.choice(self._sentences).split()[:6]).rstrip(".,;:")

    def _stretch(self, choose: random.Random) -> list[str]:
        start = choose.randrange(len(self._sentences) - _STRETCH)
        stretch = list(self._sentences[start : start + _STRETCH])
        choose.shuffle(stretch)
        return stretch

    def _paragraph(self, choose: random.Random, stretch: list[str]) -> str:
        """Join sentences of the stretch with one from anywhere, so that hardly any two paragraphs are equal."""
        sentences = [choose.choice(self._sentences)]
        while len(sentences) < 3 or sum(map(len, sentences)) < _PARAGRAPH_CHARACTERS:
            sentences.append(stretch.pop())
        return " ".join(sentences)


def generate(folder: Path, documents: int, sources: Sequence[Path]) -> Corpus:
    """Write this many documents, recombined from the Markdown below the sources. The result is deterministic."""
    corpus = Corpus(folder, documents, real_sentences(sources))
    corpus.write(range(documents))
    return corpus


def uri(number: int) -> str:
    """Return a document's path below the corpus's folder."""
    return f"{number // _DOCUMENTS_PER_FOLDER:04}/report-{number:06}.md"


def marker(number: int, state: int) -> str:
    """Return a word that occurs only in this state of the document."""
    return f"state{number:06}x{state}"


def read(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield URI and text of each document in order; the reader of the other libraries."""
    for file in sorted(folder.rglob("*.md")):
        yield file.relative_to(folder).as_posix(), file.read_text(encoding="utf-8")


def real_sentences(sources: Sequence[Path]) -> list[str]:
    """Return the distinct sentences of the Markdown below the sources, in order."""
    # Imported here, since the other libraries' environment, which only reads the documents, has no parsers.
    from mindset.text.plain import plain_text
    from mindset.text.sentences import split_sentences

    files = sorted(file for source in sources for file in source.rglob("*.md"))
    paragraphs = (
        paragraph
        for file in files
        for paragraph in plain_text(file.read_text(encoding="utf-8")).splitlines()
        if paragraph
    )
    distinct = list(
        dict.fromkeys(
            sentence
            for paragraph in paragraphs
            for sentence in (" ".join(raw.split()) for raw in split_sentences(paragraph))
            if 40 <= len(sentence) <= 300 and sentence[0].isupper() and sentence[-1] in ".?!"
        )
    )
    if len(distinct) < MIN_SENTENCES:
        sys.exit(
            f"The Markdown below {', '.join(map(str, sources))} has {len(distinct):,} sentences; at least {MIN_SENTENCES:,} are "
            "needed. Name folders with more text: --source FOLDER [FOLDER ...], for example your own documentation."
        )
    return distinct
