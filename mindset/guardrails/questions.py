"""What a question must be before anything is spent on it."""

from __future__ import annotations

from mindset.errors import QuestionRejected
from mindset.guardrails.instructions import instructions
from mindset.parsing.characters import normalise

LONGEST = 4_000
"""Characters of the longest question."""


def checked_question(question: str) -> str:
    """The question without invisible characters and outer space. Raises QuestionRejected."""
    if len(question) > LONGEST:
        raise QuestionRejected(f"The question has {len(question):,} characters; {LONGEST:,} is the most. Shorten it.")
    question = normalise(question).strip()
    if not any(each.isalnum() for each in question):
        raise QuestionRejected("The question is empty. Ask something in words.")
    return question


def instructs(question: str) -> tuple[str, ...]:
    """Names of the rules that a question breaks. It is only noted: who asks about such attacks asks in their words."""
    return tuple(sorted({f"injected-{name}" for _, _, name in instructions(question)}))
