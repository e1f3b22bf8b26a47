"""Cost of serving, and behaviour under load.

    python -m benchmarks.serving [overhead] [streams] [promotions] [endings] [--documents 2000] [--streams 1000]

The benchmark starts its own stack, releases a knowledge base of short real notes twice, and runs the API as a process, with a
model at a fixed pace. The figures go into `serving.json`. The table (Markdown, on standard output) and the chart,
`serving.svg`, are generated from it.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.chart import Bar, Group, Key, Panel, svg
from benchmarks.machine import machine
from benchmarks.serving import experiments
from benchmarks.serving.experiments import Measured
from benchmarks.serving.setup import Setup, setup
from benchmarks.texts import DATA

_OURS, _BARE = "#2563a8", "#9aa5b1"


def main() -> None:
    """Measure, write `serving.json` and `serving.svg`, and print a table."""
    chosen = _options()
    logging.getLogger("httpx").setLevel(logging.WARNING)
    runs: dict[str, Callable[[Setup], Measured]] = {
        "overhead": lambda where: experiments.overhead(where, chosen.rounds, clients=8),
        "streams": lambda where: experiments.streams(where, chosen.streams),
        "promotions": lambda where: experiments.promotions(where, chosen.requests, chosen.promotions),
        "endings": lambda where: experiments.endings(where, clients=40),
    }
    file = chosen.out / "serving.json"
    results: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    with setup(chosen.documents, chosen.source) as where:
        for name in chosen.experiments or runs:
            measured = runs[name](where)
            results[name] = measured.figures
            print(f"{time.strftime('%H:%M:%S')} {name}: {measured.figures}", file=sys.stderr, flush=True)
    chosen.out.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({**results, "machine": machine()}, indent=1) + "\n", encoding="utf-8")
    if "overhead" in results:
        (chosen.out / "serving.svg").write_text(chart(results), encoding="utf-8")
    print(table(results))


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("experiments", nargs="*", choices=["overhead", "streams", "promotions", "endings", []])
    options.add_argument("--documents", type=int, default=2_000)
    options.add_argument("--rounds", type=int, default=400)
    options.add_argument("--streams", type=int, default=1_000)
    options.add_argument("--requests", type=int, default=10_000)
    options.add_argument("--promotions", type=int, default=200)
    options.add_argument("--source", type=Path, nargs="+", default=[DATA / "guides", DATA / "chunking" / "corpora"])
    options.add_argument("--out", type=Path, default=Path("docs/benchmarks"))
    return options.parse_args()


def table(results: dict[str, Any]) -> str:
    """Return all figures as a Markdown table."""
    lines = ["| experiment | figure | value |", "| --- | --- | ---: |"]
    for name, figures in results.items():
        if name != "machine":
            lines += [
                f"| {name} | {figure.replace('_', ' ')} | {_written(value)} |" for figure, value in figures.items()
            ]
    return "\n".join(lines)


def chart(results: dict[str, Any]) -> str:
    """Return an SVG of the overhead and of the time to the first token, compared with retrieval and model alone."""
    figures = results["overhead"]

    def bar(value: float, colour: str) -> Bar:
        return Bar(value, f"{value:.1f} ms", colour)

    return svg(
        "Latency of an answer, and overhead of serving",
        [
            Panel(
                "Whole answer, one client",
                [Key("retrieval and model alone", (_BARE,)), Key("over HTTP", (_OURS,))],
                [Group("p50", [bar(figures["bare_p50"], _BARE), bar(figures["served_p50"], _OURS)])],
            ),
            Panel(
                "Overhead",
                [Key("", (_OURS,))],
                [
                    Group("whole answer, p50", [bar(figures["overhead_p50"], _OURS)]),
                    Group("whole answer, p95", [bar(figures["overhead_p95"], _OURS)]),
                    Group("first token, p50", [bar(figures["first_token_p50"], _OURS)]),
                    Group("first token, p95", [bar(figures["first_token_p95"], _OURS)]),
                ],
            ),
        ],
    )


def _written(value: Any) -> str:
    return f"{value:,.2f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
