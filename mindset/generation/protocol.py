"""What a generator is: a question and passages in, pieces of an answer out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from mindset.generation.prompt import Prompt
from mindset.providers.deadline import Deadline
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
    generator: str | None = None
    """Who writes from here on, where that is not the generator asked: a route names whoever answers in the end."""
    fallback_reasons: tuple[str, ...] = ()
    """Beside `generator`: why each one before it in the route did not answer."""


class Generator(Protocol):
    """Writes an answer from passages, marking what it stands on with [n], n counting passages from 1; thread-safe."""

    @property
    def name(self) -> str:
        """`provider:model`, for logs and answers."""
        ...

    def stream(self, question: str, passages: Sequence[Passage], deadline: Deadline | None = None) -> Iterator[Piece]:
        """Pieces as they come; the last one carries `finish_reason`. Closing the iterator ends the request.

        It is over at `deadline`, else when the generator's own time is.
        Raises ProviderRejected or ProviderUnavailable, also after the first piece."""
        ...

    def close(self) -> None: ...


class LanguageModel(Generator, Protocol):
    """A generator that is a language model, which can be told anything."""

    def stream_prompt(self, prompt: Prompt, deadline: Deadline | None = None) -> Iterator[Piece]:
        """As `stream`, of whatever the prompt asks."""
        ...
