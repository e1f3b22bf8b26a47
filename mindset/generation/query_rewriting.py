"""Rewrite a follow-up question so that it can be searched without the conversation."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mindset.text.stopwords import STOP_WORDS, word_set

MAX_PREVIOUS_QUESTIONS = 6
"""Only this many of the last questions are used."""

_MAX_LENGTH = 4_000
_WORD = re.compile(r"\w[\w'-]*")

# Words that refer to something mentioned before. A question with one of them, or with hardly any words, is a follow-up.
_REFERRING = word_set("""
    it its they them their theirs this that these those he she him her his hers one ones there then same other
    others former latter above more else instead
""")
_OPENING = re.compile(r"^\s*(and|but|so|or|then|what about|how about|why not|why|really)\b", re.IGNORECASE)
_FILLERS = STOP_WORDS | {"please", "whose"}

_IGNORED = _FILLERS | _REFERRING


def condense_question(question: str, before: Sequence[str]) -> str:
    """Return the question to search for: a follow-up is extended by the subject of the questions in `before`.

    `before` has the newest question last. Rules instead of a model take no time and add only words that the user wrote.
    Answers are not used, because a wrong one would mislead all further searches."""
    if not before or not _is_follow_up(question):
        return question
    own_words = {word.lower() for word in _WORD.findall(question)}
    subject: dict[str, None] = {}  # an ordered set
    for previous in (text[:_MAX_LENGTH] for text in reversed(before[-MAX_PREVIOUS_QUESTIONS:])):
        subject |= dict.fromkeys(
            word for word in _WORD.findall(previous) if word.lower() not in _IGNORED and word.lower() not in own_words
        )
        if not _is_follow_up(previous):
            break
    return f"{question} ({' '.join(subject)})"[:_MAX_LENGTH] if subject else question


def _is_follow_up(question: str) -> bool:
    written = _WORD.findall(question)
    words = [word.lower() for word in written]
    content_words = [word for word in words if word not in _FILLERS]
    # "Who should take part?" says hardly what it is about; with a name or a number, two words do.
    named = any(word.lower() != word or not word.isalpha() for word in written[1:] if word.lower() in content_words)
    is_short = len(content_words) < (2 if named else 3)
    return bool(_OPENING.match(question)) or not _REFERRING.isdisjoint(words) or is_short
