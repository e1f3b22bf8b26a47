"""The chart: panels of nights by number of documents, and of searches by number of vectors and segments."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from benchmarks.chart import Bar, Group, Key, Panel, svg
from benchmarks.growth.nights import CHANGED, NightsAt
from benchmarks.growth.segments import SearchAt
from benchmarks.machine import spread

_ROOM = 205  # after the longest bar: a median with its spread, or with recall
_CHANGED, _UNCHANGED = "#1f5fbf", "#8d99a8"
HOW = {"nights": "without Prefect", "nights by Prefect": "as a run of its deployment"}
"""How the nights ran, by the name of their figures in `growth.json`."""

_SEGMENTS = {1: "#123f86", 3: "#2f78d8", 4: "#5a98e6", 6: "#86b4ee"}


def chart(nights: Mapping[str, Sequence[NightsAt]], searches: Sequence[SearchAt]) -> str:
    """Return an SVG of medians: a panel for each kind of night, by its name in `HOW`, and one for searches."""
    panels = [
        *(_nights(sizes, HOW[name]) for name, sizes in nights.items()),
        *([_searches(searches)] if searches else []),
    ]
    return svg("What nights and searches cost as a knowledge base grows; shorter is better", panels)


def _nights(nights: Sequence[NightsAt], how: str) -> Panel:
    legend = [Key(f"{CHANGED} changed", (_CHANGED,)), Key("nothing changed", (_UNCHANGED,))]
    groups = [
        Group(f"{size.documents:,} documents", [_night(size.changed, _CHANGED), _night(size.unchanged, _UNCHANGED)])
        for size in nights
    ]
    return Panel(f"A night with {CHANGED} changed documents, {how}, seconds", legend, groups, _ROOM)


def _night(seconds: Sequence[float], colour: str) -> Bar:
    return Bar(statistics.median(seconds), f"{spread(seconds)} s", colour)


def _searches(searches: Sequence[SearchAt]) -> Panel:
    counts = sorted({search.segments for search in searches})
    legend = [Key("1 segment" if count == 1 else f"{count} segments", (_SEGMENTS[count],)) for count in counts]
    by_size: dict[int, list[Bar]] = {}
    for search in searches:
        written = f"{search.p50:.2f} ms, recall@20 {search.recall:.4f}"
        by_size.setdefault(search.vectors, []).append(Bar(search.p50, written, _SEGMENTS[search.segments]))
    groups = [Group(f"{size:,} vectors", bars) for size, bars in by_size.items()]
    return Panel("A search, p50 ms", legend, groups, _ROOM)
