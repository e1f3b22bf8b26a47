"""Stream an answer: generate text from passages, read its citations and apply the guardrails."""

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
    """The next part of an answer's text."""

    text: str


@dataclass(frozen=True)
class Answer:
    """A complete answer. If it is not `supported`, its text says so and it has no citations."""

    text: str
    citations: tuple[Citation, ...]
    supported: bool
    generator: str
    finish_reason: str
    usage: Usage
    fallback_reasons: tuple[str, ...] = ()
    """Why each generator before `generator` failed. If there are any, the answer is degraded."""
    cached: bool = False
    prompt: str | None = None
    """Fingerprint of the prompts, or None if no model wrote the answer."""
    judgement: Judgement | None = None
    """The judge's decision, or None if the answer was not judged."""

    @property
    def degraded(self) -> tuple[str, ...]:
        """The features that failed: `generation` if a fallback wrote the answer, `judge` if the judge failed."""
        unjudged = self.judgement is not None and self.judgement.supported is None
        return (*(["generation"] if self.fallback_reasons else []), *(["judge"] if unjudged else []))


_MARKERS = re.compile(r"\[\d+\]")

MAX_ANSWER_LENGTH = 40_000
"""In characters."""

Event = Delta | Citation | Verdict | Answer
"""An event of an answer's stream. The last one is the answer."""


def stream_answer(
    generator: Generator,
    question: str,
    passages: Sequence[Passage],
    deadline: Deadline | None = None,
    judge: Judge | None = None,
) -> Iterator[Event]:
    """Yield deltas and citations as they arrive, verdicts of the guardrails and finally the complete answer.

    The answer is unsupported, and a verdict retracts the deltas, if its text cites nothing, reveals the system prompt
    or, according to the judge, does not follow from the passages.
    Raises ProviderRejected, ProviderUnavailable or Overloaded."""
    if rules := injection_rules(question):
        yield Verdict("question", "noted", rules)
    sanitized = _sanitize_within_budget(passages)
    # Nothing can instruct a generator that only quotes, so it gets the passages as they are.
    if sanitized.broken_rules and not generator.name.startswith("extractive:"):
        yield Verdict("passages", "changed", sanitized.broken_rules)
    draft = _Draft(sanitized, generator.name)
    if sanitized.passages:
        yield from draft.read(generator.stream(question, sanitized.passages, deadline))
    yield from draft.complete(lambda text: judge.judge(question, text, sanitized.passages, deadline) if judge else None)


def _sanitize_within_budget(passages: Sequence[Passage]) -> SanitizedPassages:
    """Sanitize the passages that fit into a prompt. The others cannot be cited."""
    sanitized = sanitize_passages(passages[: len(passages_within_budget(passages))])
    fitting = len(passages_within_budget(sanitized.passages))
    return sanitized if fitting == len(sanitized.passages) else sanitize_passages(passages[:fitting])


class _Draft:
    """An answer while it is generated: its released text, its citations and the state of the filters."""

    def __init__(self, sanitized: SanitizedPassages, generator: str) -> None:
        self._links = LinkFilter(sanitized.trusted)
        self._citations = CitationReader(len(sanitized.passages))
        self._leaks = LeakFilter(SYSTEM_PROMPTS, [passage.original or passage.text for passage in sanitized.passages])
        self._length = 0
        self._pending_citations: deque[Citation] = deque()
        self._text: list[str] = []
        self._too_long = False
        self._generator, self._finish_reason, self._usage = generator, "stop", Usage()
        self._fallback_reasons: tuple[str, ...] = ()

    def read(self, pieces: Iterator[Piece]) -> Iterator[Delta | Citation]:
        """Yield the filtered text of the pieces and its citations. Reading ends at a leak or the maximum length."""
        for piece in pieces:
            if piece.generator:
                self._generator, self._fallback_reasons = piece.generator, piece.fallback_reasons
            if piece.quoted_from is None:
                yield from self._release(self._citations.feed(self._links.feed(piece.text)))
            else:
                yield from self._release(self._citations.quote(piece.text, piece.quoted_from))
            self._finish_reason, self._usage = piece.finish_reason or self._finish_reason, piece.usage or self._usage
            if self._leaks.leaked or self._too_long:
                break
        # Ends the request if its response has not been read completely.
        if close := getattr(pieces, "close", None):
            close()
        yield from self._release(self._citations.feed(self._links.finish()) + self._citations.finish())
        yield from self._release("", self._leaks.finish())
        if self._leaks.leaked or self._too_long:
            self._finish_reason = "guardrail" if self._leaks.leaked else "length"

    def complete(self, judge: Callable[[str], Judgement | None]) -> Iterator[Verdict | Answer]:
        """Yield the verdicts on the whole text and the answer. `judge` judges a text."""
        text = "".join(self._text).strip()
        citations = tuple(citation for citation in self._citations.citations if citation.end <= len(text))
        leaked = self._leaks.leaked
        declines = _MARKERS.sub("", text).strip() == NOT_IN_DOCUMENTS  # whatever it cites
        supported = bool(citations) and not (leaked or declines)
        # Reading ended at the leak, so other broken rules would be incomplete.
        broken_rules = {LEAKED} if leaked else {*self._links.broken_rules, *(["length"] if self._too_long else [])}
        if broken_rules:
            yield Verdict("answer", "blocked" if leaked else "changed", tuple(sorted(broken_rules)), retract=leaked)
        if not (supported or leaked) and text not in ("", NOT_IN_DOCUMENTS):
            yield Verdict("answer", "blocked", ("unsupported",), retract=True)
        extractive = self._generator.startswith("extractive:")
        judgement = judge(text) if supported and not extractive else None
        if judgement and judgement.supported is False:
            yield Verdict("answer", "blocked", ("judge",), retract=True)
            supported = False
        yield Answer(
            text=text if supported else NOT_IN_DOCUMENTS,
            citations=citations if supported else (),
            supported=supported,
            generator=self._generator,
            finish_reason=self._finish_reason,
            usage=self._usage,
            fallback_reasons=self._fallback_reasons,
            prompt=None if extractive else FINGERPRINT,
            judgement=judgement,
        )

    def _release(self, text: str, unfiltered: str = "") -> Iterator[Delta | Citation]:
        """Yield a delta and the citations of released text. `unfiltered` text bypasses the leak filter."""
        released = (self._leaks.feed(text) + unfiltered)[: MAX_ANSWER_LENGTH - self._length]
        self._too_long = self._length + len(released) >= MAX_ANSWER_LENGTH
        if released:
            self._length += len(released)
            self._text.append(released)
            yield Delta(released)
        self._pending_citations += self._citations.new_citations()
        while self._pending_citations and self._pending_citations[0].end <= self._length and not self._leaks.leaked:
            yield self._pending_citations.popleft()
