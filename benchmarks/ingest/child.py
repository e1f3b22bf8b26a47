"""A contestant's process: a task as JSON on its standard input, one JSON line for each event on its standard output."""

from __future__ import annotations

import json
import os
import sys
import time
from importlib.metadata import version
from typing import IO, Any

from benchmarks.ingest.contestant import CONTESTANTS, Task, open_contestant
from benchmarks.ingest.memory import forget_peak, peak_bytes


def main() -> None:
    """Get ready, do the work, tell what a search can return now."""
    events = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print; what they print is not an event
    task = Task(**json.loads(sys.stdin.readline()))
    contestant = open_contestant(task)
    packages = CONTESTANTS[task.contestant].packages
    forget_peak()
    _tell(events, "ready", bytes=peak_bytes(), versions={name: version(name) for name in packages})
    started = time.perf_counter()
    contestant.run()
    seconds = time.perf_counter() - started
    _tell(events, "done", seconds=seconds, bytes=contestant.peak_bytes or peak_bytes())
    chunks, texts = contestant.searchable(task.look_for)
    _tell(events, "searchable", chunks=chunks, texts=texts)


def _tell(events: IO[str], event: str, **facts: Any) -> None:
    events.write(json.dumps({"event": event, **facts}) + "\n")
    events.flush()


if __name__ == "__main__":
    main()
