"""The chart: a panel for each size from nothing and one for what came after."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from benchmarks.chart import Bar, Group, Key, Panel, svg
from benchmarks.ingest.contestant import CONTESTANTS, Scenario
from benchmarks.ingest.results import Row

_LEFT = {False: "", True: ", old still found"}
_OURS = ("mindset", "nightly")

_COLD: dict[Scenario, Key] = {"cold": Key("from nothing", ("#1f5fbf", "#8d99a8"))}
_AGAIN: dict[Scenario, Key] = {
    "unchanged": Key("nothing changed", ("#123f86", "#5c6775")),
    "changed": Key("1 % changed", ("#2f78d8", "#929dab")),
    "deleted": Key("1 % deleted", ("#86b4ee", "#c3cad2")),
}
"""Our colour, the others' colour."""


def chart(rows: Sequence[Row]) -> str:
    """SVG of medians, by WordLlama where that was measured."""
    embedder = "wordllama" if any(row.embedder == "wordllama" for row in rows) else "constant"
    shown = [row for row in rows if row.embedder == embedder]
    sizes = sorted({row.documents for row in shown})
    # Where most are to be compared; of those, the largest.
    again = max(sizes, key=lambda size: (len({row.contestant for row in shown if row.documents == size}), size))
    name = "WordLlama" if embedder == "wordllama" else "a constant-time embedder"
    return svg(
        f"Seconds to bring the index up to date, {name}; shorter is better",
        [
            *(_panel(f"From nothing: {size:,} documents", _COLD, shown, size) for size in sizes),
            _panel(f"Again, {again:,} documents", _AGAIN, shown, again),
        ],
    )


def _panel(title: str, legend: dict[Scenario, Key], rows: Sequence[Row], documents: int) -> Panel:
    found: dict[str, dict[Scenario, Bar]] = {}
    for row in rows:
        if row.documents == documents and row.scenario in legend:
            found.setdefault(row.contestant, {})[row.scenario] = _bar(row, legend[row.scenario])
    groups = [Group(CONTESTANTS[each].title, list(bars.values()), bold=each in _OURS) for each, bars in found.items()]
    return Panel(title, list(legend.values()), groups)


def _bar(row: Row, key: Key) -> Bar:
    seconds = statistics.median(row.seconds)
    ours, others = key.colours
    return Bar(seconds, _seconds(seconds) + _LEFT[row.left_over > 0], ours if row.contestant in _OURS else others)


def _seconds(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds >= 100 else f"{seconds:.1f} s" if seconds >= 10 else f"{seconds:.2f} s"
