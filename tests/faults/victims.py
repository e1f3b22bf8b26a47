"""Who is killed, when, and by what signal; as many as asked for, dealt from a seeded deck."""

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

from mindset.local.state import read
from tests.faults.jobs import STAGES, Work

KILLS: Final = int(os.environ.get("MINDSET_FAULT_KILLS", "25"))
"""Kills in all, those through Prefect included."""

THROUGH_PREFECT: Final = int(os.environ.get("MINDSET_FAULT_PREFECT_KILLS", str(min(KILLS, max(2, KILLS // 25)))))
"""How many of them kill Prefect's worker or its flow runs: each takes ten times as long as one without Prefect."""

SEED: Final = int(os.environ.get("MINDSET_FAULT_SEED", "1"))
"""The first batch's seed; the others follow. A batch is replayed by its own seed and no more kills than it has."""

Victim = Literal["process", "chroma", "postgres", "postgres, immediate shutdown", "segment"]

# One batch of kills. What is killed, and during what work; a segment is damaged between two works.
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
)

# A supervisor gives a server up that dies more often than five times a minute.
_MOST_DEATHS, _WITHIN_S = 5, 60.0


def batches(kills: int, size: int, first: int = SEED) -> Iterator[tuple[int, int]]:
    """Seeds, and how many kills each stands for."""
    for number, start in enumerate(range(0, kills, size)):
        yield first + number, min(size, kills - start)


def dealt(choose: random.Random, kills: int) -> list[tuple[Work, Victim]]:
    """That many from shuffled decks."""
    decks = -(-kills // len(DECK))
    return [each for _ in range(decks) for each in choose.sample(DECK, len(DECK))][:kills]


@dataclass(frozen=True)
class Moment:
    """So many seconds after a stage begins, or after a maintenance does."""

    stage: str
    seconds: float


def moment(choose: random.Random, work: Work) -> Moment:
    """Any stage is as likely, however short it is: its delay may lead into those that follow."""
    if work == "maintenance":
        return Moment("maintenance", choose.uniform(0, 0.6))
    return Moment(choose.choice(STAGES), choose.uniform(0, 0.6) ** 2)


@dataclass
class Servers:
    """Kills servers of a local stack, no faster than its supervisor starts them again."""

    directory: Path
    _deaths: dict[str, list[float]] = field(default_factory=dict)

    def kill(self, server: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to what the server's process is now."""
        deaths = self._deaths.setdefault(server, [])
        while len(deaths) >= _MOST_DEATHS and time.monotonic() - deaths[-_MOST_DEATHS] < _WITHIN_S + 1:
            time.sleep(0.1)
        deaths.append(time.monotonic())
        state = read(self.directory)
        assert state
        with suppress(ProcessLookupError):  # still on its way back from the round before
            os.kill(state.servers[server].pid, number)
