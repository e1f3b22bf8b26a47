"""The protocols of generators and language models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from mindset.generation.prompt import Prompt
from mindset.providers.deadline import Deadline
from mindset.retrieval.passage import Passage


@dataclass(frozen=True)
class Usage:
    """Token counts as reported by the provider."""

    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True)
class Piece:
    """The next part of an answer's text. The last piece has the finish reason and usually the usage."""

    text: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None
    generator: str | None = None
    """The name of the generator of this and all further pieces, set by a fallback route."""
    fallback_reasons: tuple[str, ...] = ()
    """With `generator`: why each generator before it in the route failed."""
    quoted_from: int | None = None
    """The number of the passage from which `text` is quoted, word for word, so that nothing in it is a marker."""


class Generator(Protocol):
    """Writes an answer from passages, with a marker `[n]` after text that passage n supports. Thread-safe.

    Passages are numbered from 1."""

    @property
    def name(self) -> str:
        """`provider:model`, for logs and answers."""
        ...

    def stream(self, question: str, passages: Sequence[Passage], deadline: Deadline | None = None) -> Iterator[Piece]:
        """Yield pieces as they arrive. Only the last one has a `finish_reason`. Closing the iterator ends the request.

        Without `deadline`, the generator's own time limit applies.
        Raises ProviderRejected or ProviderUnavailable, also after the first piece."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


class LanguageModel(Generator, Protocol):
    """A generator that can also complete an arbitrary prompt."""

    def stream_prompt(self, prompt: Prompt, deadline: Deadline | None = None) -> Iterator[Piece]:
        """Yield the completion of a prompt. Otherwise as `stream`."""
        ...
