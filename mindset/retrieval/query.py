"""Validation of questions."""

from __future__ import annotations

from mindset.errors import QuestionRejected
from mindset.text.normalization import normalize

MAX_QUESTION_LENGTH = 4_000
"""In characters."""


def validate_question(question: str) -> str:
    """Return the question without invisible characters and surrounding white space. Raises QuestionRejected."""
    if len(question) > MAX_QUESTION_LENGTH:
        raise QuestionRejected(
            f"The question has {len(question):,} characters; the maximum is {MAX_QUESTION_LENGTH:,}. Shorten it."
        )
    question = normalize(question).strip()
    if not any(character.isalnum() for character in question):
        raise QuestionRejected("The question is empty. Ask something in words.")
    return question
