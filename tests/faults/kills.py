"""What is killed, when, and by which signal, drawn from a seeded deck."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from local_stack.state import read
from tests.faults.jobs import STAGES, Work

KILLS: Final = int(os.environ.get("MINDSET_FAULT_KILLS", "25"))
"""Total number of kills, including those through Prefect."""

THROUGH_PREFECT: Final = int(os.environ.get("MINDSET_FAULT_PREFECT_KILLS", str(min(KILLS, max(2, KILLS // 25)))))
"""Number of kills of Prefect's worker or its flow runs. Each takes ten times as long as one without Prefect."""

ORPHANS_THROUGH_PREFECT: Final = max(1, THROUGH_PREFECT // 2)
"""Number of nights as deployments whose parent is killed while a stage goes on."""

MIGRATIONS: Final = max(2, KILLS // 20)
"""Number of migrations that are killed."""

SEED: Final = int(os.environ.get("MINDSET_FAULT_SEED", "1"))
"""Seed of the first batch; the next batches count up. To repeat one batch, set its seed and its number of kills."""

Victim = Literal[
    "process", "chroma", "postgres", "postgres, immediate shutdown", "segment", "parent", "parent, and twin"
]

# One batch of kills: what is killed, and during which work. A segment is damaged between two runs. If a parent is killed, its
# stages go on as orphans, paused until the next night has taken over; with a twin, two processes run each stage.
DECK: Final[tuple[tuple[Work, Victim], ...]] = (
    ("night", "process"),
    ("night", "process"),
    ("night", "process"),
    ("night", "chroma"),
    ("night", "postgres"),
    ("maintenance", "process"),
    ("maintenance", "process"),
    ("maintenance", "chroma"),
    ("maintenance", "postgres, immediate shutdown"),
    ("night", "segment"),
    ("maintenance", "segment"),
    ("night", "parent"),
    ("night", "parent"),
    ("night", "parent, and twin"),
)

# The supervisor gives up on a server that dies more than five times a minute.
_MOST_DEATHS, _WITHIN_S = 5, 60.0


def batches(kills: int, size: int, first: int = SEED) -> Iterator[tuple[int, int]]:
    """Yield the seed and the number of kills of each batch."""
    for number, start in enumerate(range(0, kills, size)):
        yield first + number, min(size, kills - start)


def dealt(choose: random.Random, kills: int) -> list[tuple[Work, Victim]]:
    """Draw this many from shuffled decks."""
    decks = -(-kills // len(DECK))
    return [card for _ in range(decks) for card in choose.sample(DECK, len(DECK))][:kills]


@dataclass(frozen=True)
class Moment:
    """A number of seconds after the start of a stage or of maintenance."""

    stage: str
    seconds: float


def moment(choose: random.Random, work: Work) -> Moment:
    """Choose a moment. All stages are equally likely, also short ones; the delay may reach into the next stages."""
    if work == "maintenance":
        return Moment("maintenance", choose.uniform(0, 0.6))
    return Moment(choose.choice(STAGES), choose.uniform(0, 0.6) ** 2)


@dataclass
class Servers:
    """Kills servers of a local stack, no faster than its supervisor restarts them."""

    directory: Path
    _deaths: dict[str, list[float]] = field(default_factory=dict)

    def kill(self, server: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to the server's current process."""
        deaths = self._deaths.setdefault(server, [])
        while len(deaths) >= _MOST_DEATHS and time.monotonic() - deaths[-_MOST_DEATHS] < _WITHIN_S + 1:
            time.sleep(0.1)
        deaths.append(time.monotonic())
        state = read(self.directory)
        assert state
        with suppress(ProcessLookupError):  # it is still restarting after the previous kill
            os.kill(state.servers[server].pid, number)
