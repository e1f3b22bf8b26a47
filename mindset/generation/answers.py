"""An answer: text, the passages it stands on, and whether it stands on any."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mindset.deadline import Deadline
from mindset.generation.citations import Citation, CitationReader
from mindset.generation.prompt import FINGERPRINT, NOT_IN_DOCUMENTS, SYSTEM, sent
from mindset.generation.protocol import Generator, Piece, Usage
from mindset.guardrails.answers import AnswerGuard, links_of
from mindset.guardrails.passages import neutralised
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
    prompt: str | None = None
    """Fingerprint of the words that the model was told; None where no model wrote."""


Event = Delta | Citation | Verdict | Answer
"""What happens while an answer is written; the last is the answer."""


def stream_answer(
    generator: Generator, question: str, passages: Sequence[Passage], deadline: Deadline | None = None
) -> Iterator[Event]:
    """Deltas and citations as they come, what the guardrails found, and last the whole answer, which is what counts.

    Text that cites nothing is not an answer, and text that tells what the system was told is none either: the whole
    answer then says that the documents do not, whatever the deltas said, and a verdict takes these back.
    Raises ProviderRejected, ProviderUnavailable or Overloaded."""
    # Best first: what no prompt holds is the end of the list, and cannot be cited.
    passages, injected = neutralised(passages[: len(sent(passages))])
    if injected:
        yield Verdict("passages", "changed", injected)
    texts = [each.text for each in passages]
    guard = AnswerGuard(links_of([*texts, *(place.uri for each in passages for place in each.places)]), SYSTEM, texts)
    reader = CitationReader(len(passages))
    text: list[str] = []
    writer, finish, usage = generator.name, "stop", Usage()
    passed_over: tuple[str, ...] = ()
    pieces = generator.stream(question, passages, deadline) if passages else iter(())
    for piece in pieces:
        if piece.writer:
            writer, passed_over = piece.writer, piece.passed_over
        yield from _told(reader, reader.feed(guard.feed(piece.text)), text)
        finish, usage = piece.finish_reason or finish, piece.usage or usage
        if guard.leaked or guard.too_long:
            finish = "guardrail" if guard.leaked else "length"
            break
    _close(pieces)
    yield from _told(reader, reader.feed(guard.finish()) + reader.finish(), text)
    if guard.leaked:
        finish = "guardrail"

    supported = bool(reader.citations) and not guard.leaked
    said = "".join(text).strip()
    if guard.broken:
        yield Verdict("answer", "blocked" if guard.leaked else "changed", tuple(sorted(guard.broken)), guard.leaked)
    elif not supported and said not in ("", NOT_IN_DOCUMENTS):
        yield Verdict("answer", "blocked", ("unsupported",), retract=True)
    yield Answer(
        text=said if supported else NOT_IN_DOCUMENTS,
        citations=tuple(reader.citations) if supported else (),
        supported=supported,
        generator=writer,
        finish_reason=finish,
        usage=usage,
        passed_over=passed_over,
        prompt=None if writer.startswith("extractive:") else FINGERPRINT,
    )


def _close(pieces: Iterator[Piece]) -> None:
    """End a request whose answer is not read to its end."""
    if close := getattr(pieces, "close", None):
        close()


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
