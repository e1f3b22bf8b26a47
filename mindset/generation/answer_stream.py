"""An answer: text, the passages it stands on, and whether it stands on any."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mindset.generation.citations import Citation, CitationReader
from mindset.generation.judge import Judge, Judgement
from mindset.generation.prompt import FINGERPRINT, NOT_IN_DOCUMENTS, SYSTEM_PROMPTS, passages_within_budget
from mindset.generation.protocol import Generator, Piece, Usage
from mindset.guardrails.injection import injection_rules
from mindset.guardrails.links import LinkFilter
from mindset.guardrails.prompt_leak import LEAKED, LeakFilter
from mindset.guardrails.sanitizer import SanitizedPassages, sanitize_passages
from mindset.guardrails.verdict import Verdict
from mindset.providers.deadline import Deadline
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
    fallback_reasons: tuple[str, ...] = ()
    """Why each generator that should have written it before did not: then the answer is degraded."""
    cached: bool = False
    prompt: str | None = None
    """Fingerprint of the words that the model was told; None where no model wrote."""
    judgement: Judgement | None = None
    """What a judge said of it; None where nobody judged."""

    @property
    def degraded(self) -> tuple[str, ...]:
        """What it had to do without: `generation`, another wrote it than should have; `judge`, who could not say."""
        unjudged = self.judgement is not None and self.judgement.supported is None
        return (*(["generation"] if self.fallback_reasons else []), *(["judge"] if unjudged else []))


_MARKERS = re.compile(r"\[\d+\]")

MAX_ANSWER_LENGTH = 40_000
"""Characters of the longest answer."""

Event = Delta | Citation | Verdict | Answer
"""What happens while an answer is written; the last is the answer."""


def stream_answer(
    generator: Generator,
    question: str,
    passages: Sequence[Passage],
    deadline: Deadline | None = None,
    judge: Judge | None = None,
) -> Iterator[Event]:
    """Deltas and citations as they come, what the guardrails found, and last the whole answer, which is what counts.

    Text that cites nothing is not an answer, text that tells what the system was told is none either, nor is what the judge
    does not find in the passages: the whole answer then says that the documents do not, whatever the deltas said, and a
    verdict takes these back.
    Raises ProviderRejected, ProviderUnavailable or Overloaded."""
    if rules := injection_rules(question):
        yield Verdict("question", "noted", rules)
    shown = _shown(passages)
    if shown.broken_rules:
        yield Verdict("passages", "changed", shown.broken_rules)
    draft = _Draft(shown, generator.name)
    if shown.passages:
        yield from draft.written(generator.stream(question, shown.passages, deadline))
    yield from draft.whole(lambda text: judge.judge(question, text, shown.passages, deadline) if judge else None)


def _shown(passages: Sequence[Passage]) -> SanitizedPassages:
    """Best first: what no prompt holds is the end of the list, and cannot be cited."""
    shown = sanitize_passages(passages[: len(passages_within_budget(passages))])
    fitting = len(passages_within_budget(shown.passages))
    return shown if fitting == len(shown.passages) else sanitize_passages(passages[:fitting])


class _Draft:
    """An answer while it is written: what was said, what it stands on, and what was not let through."""

    def __init__(self, shown: SanitizedPassages, writer: str) -> None:
        self._links = LinkFilter(shown.trusted)
        self._reader = CitationReader(len(shown.passages))
        self._leaks = LeakFilter(SYSTEM_PROMPTS, [each.text for each in shown.passages])
        self._length = 0
        self._waiting: deque[Citation] = deque()
        self._text: list[str] = []
        self._too_long = False
        self._writer, self._finish, self._usage = writer, "stop", Usage()
        self._fallback_reasons: tuple[str, ...] = ()

    def written(self, pieces: Iterator[Piece]) -> Iterator[Delta | Citation]:
        """What may be told of the pieces. What follows a leak, or the most that is said, is not read any more."""
        for piece in pieces:
            if piece.generator:
                self._writer, self._fallback_reasons = piece.generator, piece.fallback_reasons
            yield from self._told(self._reader.feed(self._links.feed(piece.text)))
            self._finish, self._usage = piece.finish_reason or self._finish, piece.usage or self._usage
            if self._leaks.leaked or self._too_long:
                break
        # Ends a request whose answer is not read to its end.
        if close := getattr(pieces, "close", None):
            close()
        yield from self._told(self._reader.feed(self._links.finish()) + self._reader.finish())
        yield from self._told("", self._leaks.finish())
        if self._leaks.leaked or self._too_long:
            self._finish = "guardrail" if self._leaks.leaked else "length"

    def whole(self, judged: Callable[[str], Judgement | None]) -> Iterator[Verdict | Answer]:
        """What was not let through, and the answer, once all is written; `judged` says what a judge says of a text."""
        said = "".join(self._text).strip()
        citations = tuple(each for each in self._reader.citations if each.end <= len(said))
        leaked = self._leaks.leaked
        refuses = _MARKERS.sub("", said).strip() == NOT_IN_DOCUMENTS  # whatever it cites for that
        supported = bool(citations) and not (leaked or refuses)
        # After a leak nothing is read any more: what else would be broken is chance.
        broken = {LEAKED} if leaked else {*self._links.broken_rules, *(["length"] if self._too_long else [])}
        if broken:
            yield Verdict("answer", "blocked" if leaked else "changed", tuple(sorted(broken)), retract=leaked)
        if not (supported or leaked) and said not in ("", NOT_IN_DOCUMENTS):
            yield Verdict("answer", "blocked", ("unsupported",), retract=True)
        quoted = self._writer.startswith("extractive:")
        judgement = judged(said) if supported and not quoted else None
        if judgement and judgement.supported is False:
            yield Verdict("answer", "blocked", ("judge",), retract=True)
            supported = False
        yield Answer(
            text=said if supported else NOT_IN_DOCUMENTS,
            citations=citations if supported else (),
            supported=supported,
            generator=self._writer,
            finish_reason=self._finish,
            usage=self._usage,
            fallback_reasons=self._fallback_reasons,
            prompt=None if quoted else FINGERPRINT,
            judgement=judgement,
        )

    def _told(self, piece: str, rest: str = "") -> Iterator[Delta | Citation]:
        """A piece of text, which joins the rest, and the citations whose text has been told."""
        piece = (self._leaks.feed(piece) + rest)[: MAX_ANSWER_LENGTH - self._length]
        self._too_long = self._length + len(piece) >= MAX_ANSWER_LENGTH
        if piece:
            self._length += len(piece)
            self._text.append(piece)
            yield Delta(piece)
        self._waiting += self._reader.new_citations()
        while self._waiting and self._waiting[0].end <= self._length and not self._leaks.leaked:
            yield self._waiting.popleft()
