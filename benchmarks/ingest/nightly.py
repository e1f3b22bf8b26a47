"""Product Mindset as in production: the `nightly` deployment, run by Prefect's server and worker."""

from __future__ import annotations

import time
from collections.abc import Sequence

import psutil

from benchmarks.ingest.contestant import Task
from benchmarks.ingest.memory import peak_bytes
from benchmarks.ingest.stages import KB, visible
from mindset.pipeline.prefect_client import PrefectClient

# A worker polls for runs every second, and its new process is visible after about three seconds.
_QUIET_S = 6.0

# Each poll is a request: ten per second cost Prefect's server a sixth of a processor during the night.
_POLL_S = 0.5


class Nightly:
    """A night, timed from the request to Prefect until the run has ended, including the start and imports of its process."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._peak = 0
        rest()

    @property
    def peak_bytes(self) -> int:
        """Peak memory of the night's process."""
        return self._peak

    def run(self) -> None:
        self._peak = whole_night(self._task.prefect_api_url, KB)

    def searchable(self, uris: Sequence[str]) -> tuple[int, dict[str, list[str]]]:
        return visible(self._task.postgres_url, uris)


def rest() -> None:
    """Wait until the quality check that the previous night started has ended; a worker may take seconds to start it."""
    quiet_since = time.monotonic()
    while time.monotonic() < quiet_since + _QUIET_S:
        time.sleep(0.1)
        if _engines():
            quiet_since = time.monotonic()


def whole_night(prefect_api_url: str, kb: str) -> int:
    """Run the deployment to its end, and return the peak memory of its process in bytes."""
    peak = 0
    with PrefectClient(prefect_api_url) as nights:
        run = nights.start("nightly/nightly", {"parameters": {"kb": kb}})
        process: psutil.Process | None = None
        while not run.ended:
            time.sleep(_POLL_S)
            process = process or _process_of(run.id)
            if process:
                peak = max(peak, peak_bytes(process.pid))
            run = nights.get(run.id)
        assert run.succeeded, run.message
    return peak


def _engines() -> bool:
    return any("prefect.engine" in (process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"]))


def _process_of(run: str) -> psutil.Process | None:
    """Return the process that the worker started for a run, identified by the run id in its environment."""
    for process in psutil.process_iter():
        try:
            if "prefect.engine" in process.cmdline() and run in process.environ().values():
                return process
        except psutil.Error:  # it has ended, or belongs to another user
            continue
    return None
