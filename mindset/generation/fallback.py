"""A route of generators: if one fails, the next one writes the answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

from mindset.errors import Overloaded, ProviderError
from mindset.generation.protocol import Generator, Piece
from mindset.providers.deadline import Deadline
from mindset.retrieval.passage import Passage

# Reserved for the last generator, which usually quotes passages and needs little time.
_LAST_GENERATOR_S = 0.5


class FallbackGenerator:
    """Tries its generators in order until one yields its first piece. From then on, failures are raised.

    The first piece names the generator and why those before it failed. Pieces cannot be taken back, so no other
    generator continues an answer that has started."""

    def __init__(self, generators: Sequence[Generator], deadline_s: float = 60.0) -> None:
        self.generators = tuple(generators)
        self._deadline_s = deadline_s

    @property
    def name(self) -> str:
        """The name of the first generator."""
        return self.generators[0].name

    def stream(self, question: str, passages: Sequence[Passage], deadline: Deadline | None = None) -> Iterator[Piece]:
        """Yield the pieces of the first generator that responds. Raises the last generator's error if all fail."""
        deadline = deadline or Deadline(self._deadline_s)
        fallback_reasons: list[str] = []
        for position, generator in enumerate(self.generators):
            remaining = len(self.generators) - position
            deadline.limit_wait()  # remove the limit of the previous generator
            # All generators but the last one share the time that is left.
            deadline.first_token_timeout_s = (
                max(deadline.seconds_left() - _LAST_GENERATOR_S, 0.1) / max(remaining - 1, 1)
                if remaining > 1
                else deadline.seconds_left()
            )
            pieces = generator.stream(question, passages, deadline)
            with closing(pieces):  # type: ignore[type-var]  # all implementations are generator functions
                try:
                    first = next(pieces)
                except (ProviderError, Overloaded) as error:
                    if remaining == 1 or deadline.cancelled:
                        raise
                    fallback_reasons.append(str(error))
                    continue
                yield Piece(generator=generator.name, fallback_reasons=tuple(fallback_reasons))
                yield first
                yield from pieces
                return

    def close(self) -> None:
        """Do nothing: the registry closes the generators."""
