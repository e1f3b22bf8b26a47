"""An answer: text, the passages it stands on, and whether it stands on any."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mindset.deadline import Deadline
from mindset.generation.citations import Citation, CitationReader
from mindset.generation.prompt import NOT_IN_DOCUMENTS, sent
from mindset.generation.protocol import Generator, Usage
from mindset.guardrails.verdict import Verdict
from mindset.retrieval.passage import Passage


@dataclass(frozen=True)
class Delta:
    """The next bit of an answer's text."""

    text: str


@dataclass(frozen=True)
class Answer:
    """A whole answer. Not `supported`: the text says that the documents do not tell, and nothing is cited."""

    text: str
    citations: tuple[Citation, ...]
    supported: bool
    generator: str
    finish_reason: str
    usage: Usage
    passed_over: tuple[str, ...] = ()
    """Why each generator that should have written it before did not: then the answer is degraded."""
    cached: bool = False


Event = Delta | Citation | Verdict | Answer
"""What happens while an answer is written; the last is the answer."""


def stream_answer(
    generator: Generator, question: str, passages: Sequence[Passage], deadline: Deadline | None = None
) -> Iterator[Event]:
    """Deltas and citations as they come, and last the whole answer, which is what counts.

    Text that cites nothing is not an answer: the whole answer then says so, whatever the deltas said.
    Raises ProviderRejected or ProviderUnavailable."""
    # Best first: what no prompt holds is the end of the list, and cannot be cited.
    passages = passages[: len(sent(passages))]
    reader = CitationReader(len(passages))
    text: list[str] = []
    finish, usage = "stop", Usage()
    writer = generator.name
    passed_over: tuple[str, ...] = ()
    pieces = generator.stream(question, passages, deadline) if passages else iter(())
    for piece in pieces:
        if piece.writer:
            writer, passed_over = piece.writer, piece.passed_over
        yield from _told(reader, reader.feed(piece.text), text)
        finish, usage = piece.finish_reason or finish, piece.usage or usage
    yield from _told(reader, reader.finish(), text)

    supported = bool(reader.citations)
    yield Answer(
        text="".join(text).strip() if supported else NOT_IN_DOCUMENTS,
        citations=tuple(reader.citations) if supported else (),
        supported=supported,
        generator=writer,
        finish_reason=finish,
        usage=usage,
        passed_over=passed_over,
    )


def _told(reader: CitationReader, piece: str, text: list[str]) -> Iterator[Delta | Citation]:
    """A piece of text, which joins the rest, and the citations that came with it."""
    if piece:
        text.append(piece)
        yield Delta(piece)
    yield from reader.new_citations()


def last_of(pieces: Iterator[Event]) -> Answer:
    """The answer, once it is whole. Raises as `stream_answer` does."""
    (whole,) = deque(pieces, maxlen=1)
    assert isinstance(whole, Answer)
    return whole
