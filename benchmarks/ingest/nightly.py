"""Product Mindset as it is run: the `nightly` deployment, by Prefect's server and worker."""

from __future__ import annotations

import time
from collections.abc import Sequence

import psutil

from benchmarks.ingest.contestant import Task
from benchmarks.ingest.memory import peak_bytes
from benchmarks.ingest.stages import KB, visible
from mindset.nights import Nights

# A worker asks for runs each second, and its process takes some three to be seen.
_QUIET_S = 6.0

# Each look is a request, of which ten a second took Prefect's server a sixth of a processor from the night.
_LOOK_S = 0.5


class Nightly:
    """A night is timed from asking Prefect for it until its run has ended: with the start of its process and its imports."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._peak = 0
        rest()

    @property
    def peak_bytes(self) -> int:
        """Of the night's own process."""
        return self._peak

    def run(self) -> None:
        self._peak = whole_night(self._task.prefect_api_url, KB)

    def searchable(self, uris: Sequence[str]) -> tuple[int, dict[str, list[str]]]:
        return visible(self._task.postgres_url, uris)


def rest() -> None:
    """Wait for the check of quality that the night before has asked for: a worker may take seconds to begin it."""
    quiet_since = time.monotonic()
    while time.monotonic() < quiet_since + _QUIET_S:
        time.sleep(0.1)
        if _engines():
            quiet_since = time.monotonic()


def whole_night(prefect_api_url: str, kb: str) -> int:
    """A run of the deployment, from asking for it to its end; returns the most bytes that its process had."""
    peak = 0
    with Nights(prefect_api_url) as nights:
        run = nights.start("nightly/nightly", {"parameters": {"kb": kb}})
        process: psutil.Process | None = None
        while not run.ended:
            time.sleep(_LOOK_S)
            process = process or _process_of(run.id)
            if process:
                peak = max(peak, peak_bytes(process.pid))
            run = nights.get(run.id)
        assert run.succeeded, run.message
    return peak


def _engines() -> bool:
    return any("prefect.engine" in (each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"]))


def _process_of(run: str) -> psutil.Process | None:
    """The process that Prefect's worker has started for a run: it tells it by a variable which run it is."""
    for process in psutil.process_iter():
        try:
            if "prefect.engine" in process.cmdline() and run in process.environ().values():
                return process
        except psutil.Error:  # it has ended, or is somebody else's
            continue
    return None
