"""Batches for a GPU: texts of similar length, as many as fit a token budget."""

from __future__ import annotations

from collections.abc import Sequence


def plan_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Return batches of positions in `lengths` (tokens per text), longest texts first. Every position occurs once.

    A batch costs the length of its longest text times its size, because shorter texts are padded. No batch costs more
    than `budget`, except a single text that exceeds it. A budget that is too large for the memory fails with the first
    batch, because the longest texts come first."""
    batches: list[list[int]] = []
    longest = 0
    for position in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        if not batches or longest * (len(batches[-1]) + 1) > budget:
            batches.append([])
            longest = max(lengths[position], 1)
        batches[-1].append(position)
    return batches
