"""A route: who writes the answers, and who else where that one cannot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

from mindset.errors import Overloaded, ProviderError
from mindset.generation.protocol import Generator, Piece
from mindset.providers.deadline import Deadline
from mindset.retrieval.passage import Passage

# Kept for whoever comes last, who quotes and so needs hardly any time.
_LAST_S = 0.5


class FallbackGenerator:
    """Asks one generator after the other, until one has begun to speak: what was said cannot be unsaid by another.

    The first piece names the writer, and why those before it did not write."""

    def __init__(self, generators: Sequence[Generator], deadline_s: float = 60.0) -> None:
        self.generators = tuple(generators)
        self._deadline_s = deadline_s

    @property
    def name(self) -> str:
        """Of who is asked first."""
        return self.generators[0].name

    def stream(self, question: str, passages: Sequence[Passage], deadline: Deadline | None = None) -> Iterator[Piece]:
        """As a generator's. Raises what the last one raises, where all fail."""
        deadline = deadline or Deadline(self._deadline_s)
        fallback_reasons: list[str] = []
        for at, generator in enumerate(self.generators):
            left = len(self.generators) - at
            deadline.limit_wait()  # what was expected of the one before is not this one's limit
            # Whoever comes after gets as much of what is left.
            deadline.first_token_timeout_s = (
                max(deadline.seconds_left() - _LAST_S, 0.1) / max(left - 1, 1) if left > 1 else deadline.seconds_left()
            )
            pieces = generator.stream(question, passages, deadline)
            with closing(pieces):  # type: ignore[type-var]  # all of them are written as generators
                try:
                    first = next(pieces)
                except (ProviderError, Overloaded) as failed:
                    if left == 1 or deadline.cancelled:
                        raise
                    fallback_reasons.append(str(failed))
                    continue
                yield Piece(generator=generator.name, fallback_reasons=tuple(fallback_reasons))
                yield first
                yield from pieces
                return

    def close(self) -> None:
        """Nothing: the generators belong to whoever opened them."""
