"""How a stage tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with what is done and how much there is in all; from the stage's own thread."""


def unwatched(done: int, total: int) -> None:
    """For callers who do not want to know."""
