"""A contestant's process: reads a task as JSON from standard input, and writes one JSON line per event to standard output."""

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
    """Prepare, do the work, and report what a search can return now."""
    events = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of libraries goes to standard error: it is not an event
    task = Task(**json.loads(sys.stdin.readline()))
    contestant = open_contestant(task)
    packages = CONTESTANTS[task.contestant].packages
    forget_peak()
    _send(events, "ready", bytes=peak_bytes(), versions={name: version(name) for name in packages})
    started = time.perf_counter()
    contestant.run()
    seconds = time.perf_counter() - started
    _send(events, "done", seconds=seconds, bytes=contestant.peak_bytes or peak_bytes())
    chunks, texts = contestant.searchable(task.look_for)
    _send(events, "searchable", chunks=chunks, texts=texts)


def _send(events: IO[str], event: str, **fields: Any) -> None:
    events.write(json.dumps({"event": event, **fields}) + "\n")
    events.flush()


if __name__ == "__main__":
    main()
