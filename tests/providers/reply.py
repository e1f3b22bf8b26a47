"""An answer before it is sent, and what it says: the same for every provider."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Reply:
    """`pieces` are sent one by one; `streamed` ones in HTTP chunks, the others under one length."""

    pieces: tuple[bytes, ...]
    content_type: str = "application/json"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    streamed: bool = False
    error_piece: bytes = b""
    """What an error in the middle of this stream looks like."""


_FIRST_PASSAGE = re.compile(r"^\[1\][^\n]*\n(.*?)(?:\n</passage>|\n\[2\]|\Z)", re.DOTALL | re.MULTILINE)
_SENTENCE = re.compile(r".+?[.!?](?=\s|$)", re.DOTALL)


_JUDGED = re.compile(r"<answer>(.*)</answer>", re.DOTALL)


def is_judged(user: str) -> bool:
    """Whether this is about an answer, and not about a question."""
    return bool(_JUDGED.search(user))


def relevance(question: str, passage: str) -> float:
    """How much of a passage the question's words are."""
    asked, told = (set(re.findall(r"\w+", text.lower())) for text in (question, passage))
    return len(asked & told) / max(len(told), 1)


def chat_deltas(user: str) -> list[str]:
    """The first sentence of passage [1], cited, in several deltas; of an answer, whether it stands in the passages."""
    if judged := _JUDGED.search(user):
        said = " ".join(re.sub(r"\[\d+\]", "", judged[1]).split())
        return ["Ye", "s."] if said in " ".join(user[: judged.start()].split()) else ["No"]
    passage = _FIRST_PASSAGE.search(user)
    if passage is None or not passage[1].strip():
        return ["Not in the ", "documents."]
    text = passage[1].strip()
    sentence = _SENTENCE.match(text)
    words = (sentence[0] if sentence else text).split()
    # The marker is split, as models split it.
    return [*(f"{' ' if at else ''}{' '.join(words[at : at + 3])}" for at in range(0, len(words), 3)), " [", "1]"]


def vector(text: str, dimension: int) -> list[float]:
    """A direction that the text alone decides; its length is not 1, as nobody promised that."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    numbers = np.random.default_rng(seed).standard_normal(dimension)
    return [float(number) for number in 3 * numbers / np.linalg.norm(numbers)]


def tokens(text: str) -> int:
    """A count that looks like one of tokens."""
    return len(text) // 4 + 1
