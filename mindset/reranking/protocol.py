"""The protocol of rerankers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mindset.providers.deadline import Deadline


class Reranker(Protocol):
    """Orders texts by how well they answer a question; thread-safe.

    It is asked once: a search has no time for a second try, and is told without this step. One that fails again and
    again is left alone for a while, so that not every search waits for it."""

    def rank(self, question: str, texts: Sequence[str], deadline: Deadline) -> list[int]:
        """Indexes of all texts, best first. Raises ProviderRejected, ProviderUnavailable."""
        ...

    def close(self) -> None: ...
