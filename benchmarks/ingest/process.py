"""Run a contestant in its own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.ingest.contestant import CONTESTANTS, Task

ROOT = Path(__file__).parents[2]
PEERS = ROOT / ".tools" / "peers" / "bin" / "python"

_MODULE = "benchmarks.ingest.child"


@dataclass(frozen=True)
class Outcome:
    """The results that a contestant's process reported."""

    seconds: float
    ready_bytes: int
    """Memory with everything loaded, before the work."""
    peak_bytes: int
    """The most memory during the work."""
    chunks: int
    """The number of chunks that a search can return."""
    texts: dict[str, list[str]]
    versions: dict[str, str]


class ContestantFailed(Exception):
    """A contestant's process ended before it reported all results. The message ends with the end of its log."""


def check_environment(contestants: list[str]) -> None:
    """Raise SystemExit if another library is to run and its environment is missing."""
    peers = [name for name in contestants if CONTESTANTS[name].peer]
    if peers and not PEERS.exists():
        raise SystemExit(
            f"{', '.join(peers)}: the environment of the other libraries is missing. Run `make bench-ingest`, which "
            "creates it (pass your options as OPTIONS=...), or choose other --contestants."
        )


def run(task: Task, log: Path) -> Outcome:
    """Run a task in its own process, with standard error in `log`. Raises ContestantFailed."""
    python = str(PEERS) if CONTESTANTS[task.contestant].peer else sys.executable
    quiet = {"ANONYMIZED_TELEMETRY": "False", "DO_NOT_TRACK": "1", "PYTHONPATH": str(ROOT)}
    with log.open("ab") as errors:
        finished = subprocess.run(
            [python, "-m", _MODULE],
            input=json.dumps(asdict(task)) + "\n",
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=ROOT,
            env=os.environ | quiet,
            check=False,
        )
    events = {event["event"]: event for event in map(json.loads, finished.stdout.splitlines())}
    if finished.returncode or len(events) < 3:
        reported = ", ".join(events) or "nothing"
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise ContestantFailed(
            f"{task.contestant} ended with status {finished.returncode} after reporting {reported}:\n{tail}"
        )
    ready, done, searchable = events["ready"], events["done"], events["searchable"]
    return Outcome(
        done["seconds"], ready["bytes"], done["bytes"], searchable["chunks"], searchable["texts"], ready["versions"]
    )
