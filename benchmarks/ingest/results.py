"""What was measured, as data: kept in a JSON file that every trial adds to, and shown as tables."""

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
    "cold": "from nothing",
    "unchanged": "nothing changed",
    "changed": "1 % changed",
    "deleted": "1 % deleted",
}


@dataclass
class Row:
    """One scenario of one contestant, with a value for each repeat."""

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
        """For whoever reads the file."""
        return {"median": statistics.median(self.seconds), "least": min(self.seconds), "most": max(self.seconds)}

    def add(self, measured: Measured) -> None:
        """Note one more repeat."""
        self.measured_on = datetime.now(UTC).date().isoformat()
        self.chunks, self.vectors = measured.chunks, measured.vectors
        self.touched, self.left_over = measured.touched, measured.left_over
        self.seconds.append(round(measured.seconds, 3))
        self.ready_bytes.append(measured.ready_bytes)
        self.peak_bytes.append(measured.peak_bytes)
        self.versions = measured.versions


class Results:
    """Rows in a file; a row that is measured again begins anew, the others stay as long as the machine is the same."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._machine = machine()
        self._rows: dict[tuple[int, str, str, str], Row] = {}
        self._renewed: set[tuple[int, str, str, str]] = set()
        if file.exists():
            kept = json.loads(file.read_text(encoding="utf-8"))
            if kept["machine"] == self._machine:
                self._rows = {row.key: row for row in map(_row, kept["rows"])}

    def add(self, documents: int, embedder: str, contestant: str, measured: Measured) -> None:
        """Note what was measured, and write the file."""
        row = Row(documents, embedder, contestant, measured.scenario)
        if row.key not in self._renewed:
            self._rows[row.key] = row
            self._renewed.add(row.key)
        self._rows[row.key].add(measured)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        kept = {"machine": self._machine, "rows": [asdict(each) | each.spread for each in self.rows]}
        self._file.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")

    @property
    def rows(self) -> list[Row]:
        """By size, embedder, contestant and scenario."""
        order = list(CONTESTANTS)

        def place(row: Row) -> tuple[int, bool, int, int]:
            return (
                row.documents,
                row.embedder != "wordllama",
                order.index(row.contestant),
                SCENARIOS.index(row.scenario),
            )

        return sorted(self._rows.values(), key=place)


def tables(rows: Iterable[Row]) -> str:
    """A Markdown table for each size and embedder."""
    groups: dict[tuple[int, str], dict[str, dict[Scenario, Row]]] = {}
    for row in rows:
        groups.setdefault((row.documents, row.embedder), {}).setdefault(row.contestant, {})[row.scenario] = row
    return "\n".join(line for (size, embedder), group in groups.items() for line in _table(size, embedder, group))


def _row(kept: dict[str, Any]) -> Row:
    names = {each.name for each in fields(Row)}
    return Row(**{name: value for name, value in kept.items() if name in names})


def _table(documents: int, embedder: str, group: dict[str, dict[Scenario, Row]]) -> Iterator[str]:
    seconds = [f"{_TITLES[each]}, s" for each in SCENARIOS]
    titles = ["", *seconds, "ms a chunk", "memory, MiB", "chunks", "deleted, still found", "changed, found as before"]
    yield f"**{documents:,} documents, {'WordLlama' if embedder == 'wordllama' else 'a constant-time embedder'}**"
    yield ""
    yield f"| {' | '.join(titles)} |"
    yield f"| --- |{' ---: |' * (len(titles) - 1)}"
    for contestant, found in group.items():
        cold = found["cold"]
        cells = [
            CONTESTANTS[contestant].title,
            *(_seconds(found.get(each)) for each in SCENARIOS),
            f"{statistics.median(cold.seconds) / cold.chunks * 1000:.2f}",
            _mebibytes(max(found.values(), key=lambda row: max(row.peak_bytes))),
            f"{cold.chunks:,}",
            *(_left_over(found.get(each)) for each in ("deleted", "changed")),
        ]
        yield f"| {' | '.join(cells)} |"
    yield ""


def _seconds(row: Row | None) -> str:
    return "n/a" if row is None else spread(row.seconds)


def _mebibytes(row: Row) -> str:
    peak, ready = max(row.peak_bytes) / 2**20, statistics.median(row.ready_bytes) / 2**20
    # A night's process imports everything itself; what was ready before it was only the one that asked for it.
    return f"{peak:.0f}" if row.contestant == "nightly" else f"{peak:.0f}, {ready:.0f} before"


def _left_over(row: Row | None) -> str:
    return "n/a" if row is None else f"{row.left_over} of {row.touched}"
