"""Nights and maintenance in processes of their own, to be killed at any moment; they tell which stage they are in."""

from __future__ import annotations

import logging
import multiprocessing
import sys
import time
import traceback
from collections.abc import Callable
from functools import wraps
from inspect import getmembers, isfunction
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

import chromadb.api.client  # noqa: F401  # a second of imports, once for all processes
import structlog
import wordllama  # noqa: F401  # likewise

from mindset import maintenance, releases
from mindset.errors import MindsetError
from mindset.installation import Installation, open_installation
from mindset.settings import Settings
from tests import corpus

P = ParamSpec("P")
R = TypeVar("R")

Work = Literal["night", "maintenance"]

STAGES = ("ingest", "chunk", "embed", "index", "evaluate", "deploy")

# Forks of a process that has imported everything, and that holds no thread and no connection.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([__name__])

_REFUSED = 3
_MAINTAINS = ("mindset.maintenance", "mindset.builds", "mindset.catalog.retention")


class Job:
    """One night, or one maintenance, in a process."""

    def __init__(self, work: Work, settings: Settings, kb: str, log: Path) -> None:
        self.stage = "start"
        self._log = log
        self._told, telling = _FORKS.Pipe(duplex=False)
        self._process = _FORKS.Process(target=_run, args=(work, settings, kb, str(log), telling), daemon=True)
        self._process.start()
        telling.close()

    def reach(self, stage: str, timeout_s: float = 60) -> bool:
        """Wait until the stage begins; False where the job ends before."""
        deadline = time.monotonic() + timeout_s
        while self.stage != stage and (heard := self._hear(deadline - time.monotonic())):
            self.stage = heard
        return self.stage == stage

    def kill(self) -> bool:
        """End it at once; False where it has ended already."""
        self._process.kill()
        return self.wait() < 0

    def wait(self, timeout_s: float = 90) -> int:
        """The exit code: below 0 by a signal. Fails where the job broke with an error that is nobody's purpose."""
        self._process.join(timeout_s)
        while heard := self._hear(0):
            self.stage = heard
        code = self._process.exitcode
        assert code is not None, "the job never ends"
        assert code in (0, _REFUSED) or code < 0, self._log.read_text()
        return code

    def refused(self) -> bool:
        """Whether it gave up with an error that is made for that."""
        return self.wait() == _REFUSED

    def _hear(self, timeout_s: float) -> str | None:
        try:
            return str(self._told.recv()) if self._told.poll(max(0.0, timeout_s)) else None
        except EOFError:
            return None


def maintain(installation: Installation, kb: str) -> maintenance.MaintenanceReport:
    """Maintenance under the build lock, as its flow runs it."""
    with installation.catalog.build_lock(kb):
        return maintenance.maintain(installation.catalog, installation.knowledge_base(kb), installation.vectors)


def _run(work: Work, settings: Settings, kb: str, log: str, telling: Connection) -> None:
    logging.disable(logging.CRITICAL)
    with Path(log).open("w") as file:
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(file))
        _announce_stages(telling.send)
        try:
            with open_installation(settings) as installation:
                telling.send("night" if work == "night" else "maintenance")
                corpus.run_night(installation, kb) if work == "night" else maintain(installation, kb)
        except MindsetError:
            sys.exit(_REFUSED)
        except Exception:  # noqa: BLE001  # whatever it is, the log shall hold it
            traceback.print_exc(file=file)
            sys.exit(1)


def _announce_stages(tell: Callable[[str], None]) -> None:
    """In this process, every stage says so as it begins."""
    for stage in STAGES[:-1]:
        setattr(corpus, stage, _announced(stage, getattr(corpus, stage), tell))
    releases.deploy = _announced("deploy", releases.deploy, tell)
    for name, function in getmembers(maintenance, isfunction):
        if function.__module__.startswith(_MAINTAINS) and name != "maintain":
            setattr(maintenance, name, _announced(f"maintenance: {name.strip('_')}", function, tell))


def _announced(stage: str, function: Callable[P, R], tell: Callable[[str], Any]) -> Callable[P, R]:
    @wraps(function)
    def announcing(*arguments: P.args, **named: P.kwargs) -> R:
        tell(stage)
        return function(*arguments, **named)

    return announcing
