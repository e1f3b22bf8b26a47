"""What a generator is: a question and passages in, pieces of an answer out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from mindset.retrieval.passage import Passage


@dataclass(frozen=True)
class Usage:
    """What an answer cost, as the provider counted it."""

    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True)
class Piece:
    """The next bit of an answer's text, or, on the last piece, why it ended and what it cost."""

    text: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None


class Generator(Protocol):
    """Writes an answer from passages, marking what it stands on with [n], n counting passages from 1; thread-safe."""

    @property
    def name(self) -> str:
        """`provider:model`, for logs and answers."""
        ...

    def stream(self, question: str, passages: Sequence[Passage]) -> Iterator[Piece]:
        """Pieces as they come; the last one carries `finish_reason`. Closing the iterator ends the request.

        Raises ProviderRejected or ProviderUnavailable, also after the first piece."""
        ...

    def close(self) -> None: ...
