"""A conversation: what was asked before, and the question that follows, made whole by it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mindset.text.stopwords import STOP_WORDS, word_set

MAX_PREVIOUS_QUESTIONS = 6
"""How many of the last questions are looked at."""

_LONGEST = 4_000
_WORD = re.compile(r"\w[\w'-]*")

# Words that stand for something said before. A question with one of them, or of hardly any words, is not whole.
_POINTING = word_set("""
    it its they them their theirs this that these those he she him her his hers one ones there then same other
    others former latter above more else instead
""")
_OPENING = re.compile(r"^\s*(and|but|so|or|then|what about|how about|why not|why|really)\b", re.IGNORECASE)
_EMPTY = STOP_WORDS | {"please", "whose"}

_NOTHING = _EMPTY | _POINTING


def condense_question(question: str, before: Sequence[str]) -> str:
    """The question to search for: a follow-up with the words that the questions before it, the newest last, were about.

    By rule, not by a model: it costs no time, and says nothing that nobody asked. Answers are not looked at, since one
    wrong answer would lead all that follow astray."""
    if not before or not _follows_up(question):
        return question
    asked = {word.lower() for word in _WORD.findall(question)}
    subject: dict[str, None] = {}  # in order, each once
    for said in (each[:_LONGEST] for each in reversed(before[-MAX_PREVIOUS_QUESTIONS:])):
        subject |= dict.fromkeys(
            each for each in _WORD.findall(said) if each.lower() not in _NOTHING and each.lower() not in asked
        )
        if not _follows_up(said):
            break  # that one was whole
    return f"{question} ({' '.join(subject)})"[:_LONGEST] if subject else question


def _follows_up(question: str) -> bool:
    words = [each.lower() for each in _WORD.findall(question)]
    telling = [each for each in words if each not in _EMPTY]
    return bool(_OPENING.match(question)) or not _POINTING.isdisjoint(words) or len(telling) < 2
