"""How a stage reports its progress."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with the amount done and the total, from the stage's own thread."""


def no_progress(done: int, total: int) -> None:
    """Ignore progress."""
