"""Which texts a GPU takes together: as many as fit a budget of tokens, of similar length."""

from __future__ import annotations

from collections.abc import Sequence


def plan_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Batches of positions in `lengths` (tokens of each text), every position once, longest first.

    A batch costs its longest text times its size, because shorter ones are padded; none costs more than `budget`, save
    a text that does alone. The longest come first so that a budget too large for the memory shows at once."""
    batches: list[list[int]] = []
    longest = 0
    for position in sorted(range(len(lengths)), key=lambda each: (-lengths[each], each)):
        if not batches or longest * (len(batches[-1]) + 1) > budget:
            batches.append([])
            longest = max(lengths[position], 1)
        batches[-1].append(position)
    return batches
