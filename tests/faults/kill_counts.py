"""Counts over all fault tests, printed in a summary at the end of the run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping

import pytest

Tally = dict[str, int | float]
"""Counts by `kind: name`; a plain dictionary, since test processes send it to each other."""


def count(tally: Tally, what: str, by: float = 1) -> None:
    """Add to a count."""
    tally[what] = tally.get(what, 0) + by


def summary(tallies: Iterable[Mapping[str, int | float]]) -> list[str]:
    """Return the table, one line per count."""
    total: Tally = {}
    for tally in tallies:
        for what, number in tally.items():
            count(total, what, number)
    if not total:
        return []
    kills = sum(number for what, number in total.items() if what.startswith("killed: "))
    lines = [f"{what:<60}{number:>9,.0f}" for what, number in sorted(total.items()) if what != "seconds"]
    return [
        *lines,
        f"{'kills':<60}{kills:>9,.0f}",
        f"{'seconds per kill':<60}{total.get('seconds', 0) / max(kills, 1):>9.1f}",
    ]


@pytest.fixture
def tally(record_property: Callable[[str, object], None]) -> Iterator[Tally]:
    """The counts of one test."""
    counts: Tally = {}
    record_property("tally", counts)
    started = time.monotonic()
    yield counts
    if any(what.startswith("killed: ") for what in counts):
        count(counts, "seconds", time.monotonic() - started)
