"""The measurements: stored in a JSON file to which each trial adds, and shown as tables."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.ingest.contestant import CONTESTANTS, SCENARIOS, Scenario
from benchmarks.ingest.trial import Measured
from benchmarks.machine import machine, spread

_TITLES: dict[Scenario, str] = {
    "cold": "from scratch",
    "unchanged": "nothing changed",
    "changed": "1 % changed",
    "deleted": "1 % deleted",
}


@dataclass
class Row:
    """One scenario of one contestant, with a value per repeat."""

    documents: int
    embedder: str
    contestant: str
    scenario: Scenario
    measured_on: str = ""
    chunks: int = 0
    vectors: int = 0
    touched: int = 0
    left_over: int = 0
    seconds: list[float] = field(default_factory=list)
    ready_bytes: list[int] = field(default_factory=list)
    peak_bytes: list[int] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[int, str, str, str]:
        return self.documents, self.embedder, self.contestant, self.scenario

    @property
    def spread(self) -> dict[str, float]:
        """Summary for readers of the file."""
        return {"median": statistics.median(self.seconds), "least": min(self.seconds), "most": max(self.seconds)}

    def add(self, measured: Measured) -> None:
        """Add one repeat."""
        self.measured_on = datetime.now(UTC).date().isoformat()
        self.chunks, self.vectors = measured.chunks, measured.vectors
        self.touched, self.left_over = measured.touched, measured.left_over
        self.seconds.append(round(measured.seconds, 3))
        self.ready_bytes.append(measured.ready_bytes)
        self.peak_bytes.append(measured.peak_bytes)
        self.versions = measured.versions


class Results:
    """Rows in a file. A row that is measured again is replaced; the others are kept if the machine is the same."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._machine = machine()
        self._rows: dict[tuple[int, str, str, str], Row] = {}
        self._replaced: set[tuple[int, str, str, str]] = set()
        if file.exists():
            stored = json.loads(file.read_text(encoding="utf-8"))
            if stored["machine"] == self._machine:
                self._rows = {row.key: row for row in map(_row, stored["rows"])}

    def add(self, documents: int, embedder: str, contestant: str, measured: Measured) -> None:
        """Add a measurement and write the file."""
        row = Row(documents, embedder, contestant, measured.scenario)
        if row.key not in self._replaced:
            self._rows[row.key] = row
            self._replaced.add(row.key)
        self._rows[row.key].add(measured)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        content = {"machine": self._machine, "rows": [asdict(row) | row.spread for row in self.rows]}
        self._file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    @property
    def rows(self) -> list[Row]:
        """The rows, sorted by size, embedder, contestant and scenario."""
        order = list(CONTESTANTS)

        def sort_key(row: Row) -> tuple[int, bool, int, int]:
            return (
                row.documents,
                row.embedder != "wordllama",
                order.index(row.contestant),
                SCENARIOS.index(row.scenario),
            )

        return sorted(self._rows.values(), key=sort_key)


def tables(rows: Iterable[Row]) -> str:
    """Return a Markdown table for each size and embedder."""
    groups: dict[tuple[int, str], dict[str, dict[Scenario, Row]]] = {}
    for row in rows:
        groups.setdefault((row.documents, row.embedder), {}).setdefault(row.contestant, {})[row.scenario] = row
    return "\n".join(line for (size, embedder), group in groups.items() for line in _table(size, embedder, group))


def _row(stored: dict[str, Any]) -> Row:
    names = {field.name for field in fields(Row)}
    return Row(**{name: value for name, value in stored.items() if name in names})


def _table(documents: int, embedder: str, group: dict[str, dict[Scenario, Row]]) -> Iterator[str]:
    seconds = [f"{_TITLES[scenario]}, s" for scenario in SCENARIOS]
    titles = ["", *seconds, "ms per chunk", "memory, MiB", "chunks", "deleted, still found", "changed, old text found"]
    yield f"**{documents:,} documents, {'WordLlama' if embedder == 'wordllama' else 'a constant-time embedder'}**"
    yield ""
    yield f"| {' | '.join(titles)} |"
    yield f"| --- |{' ---: |' * (len(titles) - 1)}"
    for contestant, scenarios in group.items():
        cold = scenarios["cold"]
        cells = [
            CONTESTANTS[contestant].title,
            *(_seconds(scenarios.get(scenario)) for scenario in SCENARIOS),
            f"{statistics.median(cold.seconds) / cold.chunks * 1000:.2f}",
            _mebibytes(max(scenarios.values(), key=lambda row: max(row.peak_bytes))),
            f"{cold.chunks:,}",
            *(_left_over(scenarios.get("deleted")), _left_over(scenarios.get("changed"))),
        ]
        yield f"| {' | '.join(cells)} |"
    yield ""


def _seconds(row: Row | None) -> str:
    return "n/a" if row is None else spread(row.seconds)


def _mebibytes(row: Row) -> str:
    peak, ready = max(row.peak_bytes) / 2**20, statistics.median(row.ready_bytes) / 2**20
    # A night runs in another process: the memory before the work is that of its starter, and means nothing.
    return f"{peak:.0f}" if row.contestant == "nightly" else f"{peak:.0f}, {ready:.0f} before"


def _left_over(row: Row | None) -> str:
    return "n/a" if row is None else f"{row.left_over} of {row.touched}"
