"""The protocol of rerankers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mindset.providers.deadline import Deadline


class Reranker(Protocol):
    """Ranks texts by how well they answer a question. Thread-safe.

    Requests are not retried: a search has no time for it, and continues without reranking. Implementations have a
    circuit breaker, so that a failing provider does not slow down every search."""

    def rank(self, question: str, texts: Sequence[str], deadline: Deadline) -> list[int]:
        """Return the indexes of all texts, best first. Raises ProviderRejected, ProviderUnavailable."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...
