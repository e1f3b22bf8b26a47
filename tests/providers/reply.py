"""Responses of the test servers, and their content, which is the same for all providers."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Reply:
    """A response. `pieces` are sent one by one: in HTTP chunks if `streamed`, else under one Content-Length."""

    pieces: tuple[bytes, ...]
    content_type: str = "application/json"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    streamed: bool = False
    error_piece: bytes = b""
    """The error event of this kind of stream."""


_FIRST_PASSAGE = re.compile(r"^\[1\][^\n]*\n(.*?)(?:\n</passage>|\n\[2\]|\Z)", re.DOTALL | re.MULTILINE)
_SENTENCE = re.compile(r".+?[.!?](?=\s|$)", re.DOTALL)


_JUDGED = re.compile(r"<answer>(.*)</answer>", re.DOTALL)


def is_judged(user: str) -> bool:
    """Return whether a prompt asks the model to judge an answer."""
    return bool(_JUDGED.search(user))


def relevance(question: str, passage: str) -> float:
    """Return the fraction of a passage's words that occur in the question."""
    question_words, passage_words = (set(re.findall(r"\w+", text.lower())) for text in (question, passage))
    return len(question_words & passage_words) / max(len(passage_words), 1)


def chat_deltas(user: str) -> list[str]:
    """Return the first sentence of passage [1] with a citation, in several deltas.

    For a prompt that asks to judge an answer: Yes or No, whether the passages contain the answer."""
    if judged := _JUDGED.search(user):
        answer = " ".join(re.sub(r"\[\d+\]", "", judged[1]).split())
        return ["Ye", "s."] if answer in " ".join(user[: judged.start()].split()) else ["No"]
    passage = _FIRST_PASSAGE.search(user)
    if passage is None or not passage[1].strip():
        return ["Not in the ", "documents."]
    text = passage[1].strip()
    sentence = _SENTENCE.match(text)
    words = (sentence[0] if sentence else text).split()
    # Models split the citation marker over two deltas.
    return [*(f"{' ' if at else ''}{' '.join(words[at : at + 3])}" for at in range(0, len(words), 3)), " [", "1]"]


def vector(text: str, dimension: int) -> list[float]:
    """Return a vector that depends on the text alone. Its norm is not 1: providers do not promise unit vectors."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    numbers = np.random.default_rng(seed).standard_normal(dimension)
    return [float(number) for number in 3 * numbers / np.linalg.norm(numbers)]


def tokens(text: str) -> int:
    """Return a plausible token count."""
    return len(text) // 4 + 1
