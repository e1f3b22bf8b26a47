"""Documents to ingest: Markdown recombined from real sentences, the same for everybody, and how they change."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

SECTIONS = 8
_PARAGRAPHS = 3
_PARAGRAPH_CHARACTERS = 400
# A section's sentences come from one stretch of the real text, so that they are about something.
_STRETCH = 60
_DOCUMENTS_PER_FOLDER = 100


class Corpus:
    """A folder of numbered documents of about ten chunks each.

    A document's text depends on its number and its state alone, so that the same change can be made again."""

    def __init__(self, folder: Path, documents: int, sentences: Sequence[str]) -> None:
        self.folder, self.documents = folder, documents
        self._sentences = sentences

    def write(self, numbers: Sequence[int], state: int = 0) -> None:
        """Write these documents in that state; other states differ in one paragraph."""
        for number in numbers:
            file = self.folder / uri(number)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self._text(number, state), encoding="utf-8")

    def delete(self, numbers: Sequence[int]) -> None:
        """Delete these documents."""
        for number in numbers:
            (self.folder / uri(number)).unlink()

    def sample(self, share: float, offset: int) -> list[int]:
        """This share of the documents' numbers, at least one, evenly spread; samples of other offsets are others."""
        count = max(1, round(self.documents * share))
        step = self.documents // count
        assert offset < step, f"{self.documents} documents are too few"
        return [offset + each * step for each in range(count)]

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
        """Sentences off the stretch, and one from anywhere, so that hardly any paragraph is met twice."""
        taken = [choose.choice(self._sentences)]
        while len(taken) < 3 or sum(map(len, taken)) < _PARAGRAPH_CHARACTERS:
            taken.append(stretch.pop())
        return " ".join(taken)


def generate(folder: Path, documents: int, sources: Sequence[Path]) -> Corpus:
    """Write so many documents, recombined from the Markdown below the sources; the same for the same sources."""
    corpus = Corpus(folder, documents, real_sentences(sources))
    corpus.write(range(documents))
    return corpus


def uri(number: int) -> str:
    """The path of a document below the corpus's folder."""
    return f"{number // _DOCUMENTS_PER_FOLDER:04}/report-{number:06}.md"


def marker(number: int, state: int) -> str:
    """A word that stands in a document in that state only."""
    return f"state{number:06}x{state}"


def read(folder: Path) -> Iterator[tuple[str, str]]:
    """URI and text of every document there is, in order: how the peers read."""
    for file in sorted(folder.rglob("*.md")):
        yield file.relative_to(folder).as_posix(), file.read_text(encoding="utf-8")


def real_sentences(sources: Sequence[Path]) -> list[str]:
    """Different sentences of the Markdown below the sources, in order."""
    # Only here: the peers' environment has no parsers, and reads documents that are there already.
    from mindset.chunking.chunk import plain
    from mindset.chunking.sentences import sentences

    files = sorted(file for source in sources for file in source.rglob("*.md"))
    paragraphs = (
        paragraph for file in files for paragraph in plain(file.read_text(encoding="utf-8")).splitlines() if paragraph
    )
    found = list(
        dict.fromkeys(
            sentence
            for paragraph in paragraphs
            for sentence in (" ".join(each.split()) for each in sentences(paragraph))
            if 40 <= len(sentence) <= 300 and sentence[0].isupper() and sentence[-1] in ".?!"
        )
    )
    assert len(found) >= 1_000, (
        f"{[str(each) for each in sources]} hold {len(found)} sentences; name more with --source"
    )
    return found
