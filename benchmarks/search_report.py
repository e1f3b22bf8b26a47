"""The results of the search benchmark, as a table and a chart."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.chart import Bar, Group, Key, Panel, svg


@dataclass
class Load:
    """The results of a load over all its rounds."""

    p50: list[float] = field(default_factory=list)
    p95: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    failed: int = 0
    stages: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)

    def add(self, milliseconds: Sequence[float], seconds: float, failed: int = 0) -> None:
        """Add the results of one round."""
        cuts = statistics.quantiles(milliseconds, n=100)
        for name, at in (("p50", 49), ("p95", 94), ("p99", 98)):
            getattr(self, name).append(cuts[at])
        self.rate.append(len(milliseconds) / seconds)
        self.failed += failed


@dataclass
class Loads:
    """The closed loads by number of clients, and the paced load."""

    served: dict[int, Load]
    bare: dict[int, Load]
    cached: dict[int, Load]
    paced: Load


def table(loads: Loads, pace: float) -> str:
    """Return the results as Markdown tables."""
    median: Callable[[Sequence[float]], float] = statistics.median
    named = [
        *((clients_label(clients), load) for clients, load in loads.served.items()),
        (f"paced, {pace:.0f} per second", loads.paced),
        *((f"bare, {clients_label(clients)}", load) for clients, load in loads.bare.items()),
        *((f"cached, {clients_label(clients)}", load) for clients, load in loads.cached.items()),
    ]
    lines = ["| load | p50 ms | p95 ms | p99 ms | requests/s (min to max) | failed |", "| --- |" + " ---: |" * 5]
    for name, load in named:
        rate = f"{median(load.rate):.0f} ({min(load.rate):.0f} to {max(load.rate):.0f})"
        lines.append(
            f"| {name} | {median(load.p50):.1f} | {median(load.p95):.1f} | {median(load.p99):.1f} | {rate} | {load.failed} |"
        )
    ratios = (f"{median(load.p50) / median(loads.bare[clients].p50):.2f} x" for clients, load in loads.served.items())
    lines += [
        "",
        f"p50 relative to bare Chroma and embedding: {', '.join(ratios)}.",
        "",
        f"| stage, p50 ms | {' | '.join(clients_label(clients) for clients in loads.served)} |",
        "| --- |" + " ---: |" * len(loads.served),
    ]
    served = list(loads.served.values())
    for stage in served[0].stages:
        lines.append(f"| {stage} | {' | '.join(f'{median(load.stages[stage]):.1f}' for load in served)} |")
    lines += [
        f"| HTTP, version snapshot and access | {' | '.join(f'{_outside(load):.1f}' for load in served)} |",
        "",
        "| CPU per request | ms |",
        "| --- | ---: |",
        *(f"| {name} | {median(values):.2f} |" for name, values in served[-1].cpu.items()),
    ]
    return "\n".join(lines)


def chart(loads: Loads, chunks: int) -> str:
    """Return the closed loads as an SVG chart."""
    kinds = [("searches", loads.served, "#2563a8"), ("bare Chroma and embedding", loads.bare, "#9aa5b1")]
    if loads.cached:
        kinds.append(("cached", loads.cached, "#7fb069"))

    def panel(title: str, value: Callable[[Load], float], unit: str) -> Panel:
        groups = [
            Group(
                clients_label(clients),
                [Bar(value(load[clients]), f"{value(load[clients]):.0f} {unit}", colour) for _, load, colour in kinds],
            )
            for clients in loads.served
        ]
        return Panel(title, [Key(name, (colour,)) for name, _, colour in kinds], groups)

    return svg(
        f"Searches over {chunks:,} chunks, by number of clients without pauses",
        [
            panel("Requests per second", lambda load: statistics.median(load.rate), "/s"),
            panel("p95, ms", lambda load: statistics.median(load.p95), "ms"),
        ],
    )


def clients_label(clients: int) -> str:
    """Return the name of a closed load."""
    return "one client" if clients == 1 else f"{clients} clients"


def _outside(load: Load) -> float:
    return statistics.median(load.p50) - statistics.median(load.stages["total"])
