"""The chart: a panel per size for ingestion from scratch, and one for the later scenarios."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from benchmarks.chart import Bar, Group, Key, Panel, svg
from benchmarks.ingest.contestant import CONTESTANTS, Scenario
from benchmarks.ingest.results import Row

_STALE = {False: "", True: ", old text still found"}
_OURS = ("mindset", "nightly")

_COLD: dict[Scenario, Key] = {"cold": Key("from scratch", ("#1f5fbf", "#8d99a8"))}
_UPDATES: dict[Scenario, Key] = {
    "unchanged": Key("nothing changed", ("#123f86", "#5c6775")),
    "changed": Key("1 % changed", ("#2f78d8", "#929dab")),
    "deleted": Key("1 % deleted", ("#86b4ee", "#c3cad2")),
}
"""Our colour, and the colour of the others."""


def chart(rows: Sequence[Row]) -> str:
    """Return an SVG of medians, with WordLlama if it was measured."""
    embedder = "wordllama" if any(row.embedder == "wordllama" for row in rows) else "constant"
    shown = [row for row in rows if row.embedder == embedder]
    sizes = sorted({row.documents for row in shown})
    # The size with the most contestants; of those, the largest.
    compared = max(sizes, key=lambda size: (len({row.contestant for row in shown if row.documents == size}), size))
    name = "WordLlama" if embedder == "wordllama" else "a constant-time embedder"
    return svg(
        f"Seconds to bring the index up to date, {name}; shorter is better",
        [
            *(_panel(f"From scratch: {size:,} documents", _COLD, shown, size) for size in sizes),
            _panel(f"Updates: {compared:,} documents", _UPDATES, shown, compared),
        ],
    )


def _panel(title: str, legend: dict[Scenario, Key], rows: Sequence[Row], documents: int) -> Panel:
    bars: dict[str, dict[Scenario, Bar]] = {}
    for row in rows:
        if row.documents == documents and row.scenario in legend:
            bars.setdefault(row.contestant, {})[row.scenario] = _bar(row, legend[row.scenario])
    groups = [
        Group(CONTESTANTS[name].title, list(by_scenario.values()), bold=name in _OURS)
        for name, by_scenario in bars.items()
    ]
    return Panel(title, list(legend.values()), groups)


def _bar(row: Row, key: Key) -> Bar:
    seconds = statistics.median(row.seconds)
    ours, others = key.colours
    return Bar(seconds, _seconds(seconds) + _STALE[row.left_over > 0], ours if row.contestant in _OURS else others)


def _seconds(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds >= 100 else f"{seconds:.1f} s" if seconds >= 10 else f"{seconds:.2f} s"
