"""A contestant's process as the benchmark sees it."""

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
    """What a contestant's process told."""

    seconds: float
    ready_bytes: int
    """Memory with everything loaded, before the work."""
    peak_bytes: int
    """The most memory during the work."""
    chunks: int
    """How many a search can return."""
    texts: dict[str, list[str]]
    versions: dict[str, str]


class ContestantFailed(Exception):
    """A contestant's process ended before it told everything. The message ends with what it wrote last."""


def check_environment(contestants: list[str]) -> None:
    """Raise SystemExit where a peer is to run and the peers' environment is missing."""
    peers = [name for name in contestants if CONTESTANTS[name].peer]
    if peers and not PEERS.exists():
        raise SystemExit(
            f"{', '.join(peers)}: the peers' environment is missing. Run `make bench-ingest`, which makes it "
            "(OPTIONS=... passes on what you gave here), or name other --contestants."
        )


def run(task: Task, log: Path) -> Outcome:
    """Do a task in a process of its own, its standard error in a file. Raises ContestantFailed."""
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
    events = {each["event"]: each for each in map(json.loads, finished.stdout.splitlines())}
    if finished.returncode or len(events) < 3:
        told = ", ".join(events) or "nothing"
        last = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise ContestantFailed(
            f"{task.contestant} ended with status {finished.returncode}, having told {told}:\n{last}"
        )
    ready, done, found = events["ready"], events["done"], events["searchable"]
    return Outcome(done["seconds"], ready["bytes"], done["bytes"], found["chunks"], found["texts"], ready["versions"])
