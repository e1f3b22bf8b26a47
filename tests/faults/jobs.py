"""Nightly runs and maintenance in child processes that report their stage and can be killed at any moment."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from functools import wraps
from inspect import getmembers, isfunction
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

import chromadb.api.client  # noqa: F401  # preloaded once: its import takes a second
import structlog
import wordllama  # noqa: F401  # preloaded too

from mindset.application import Installation, open_installation
from mindset.catalog.build import Build
from mindset.config.settings import Settings
from mindset.errors import MindsetError
from mindset.pipeline import maintenance
from mindset.releases import promotion
from tests import corpus

P = ParamSpec("P")
R = TypeVar("R")

Work = Literal["night", "maintenance"]

Token = int | None
"""The token of the build that a night belongs to; None: it acquires the lock and begins its own."""

STAGES = ("ingest", "chunk", "embed", "index", "evaluate", "deploy")

# The fork server has imported everything, and has no threads and no connections.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([__name__])

_REFUSED = 3
_MAINTAINS = ("mindset.pipeline.maintenance", "mindset.pipeline", "mindset.catalog.garbage_collection")


class Job:
    """One nightly run or maintenance in a child process.

    With a token, the stages of a night as deployments run them: they write for a build whose lock another process holds, or
    held until it died."""

    def __init__(self, work: Work, settings: Settings, kb: str, log: Path, token: Token = None) -> None:
        self.stage = "start"
        self._log = log
        self._stages, sender = _FORKS.Pipe(duplex=False)
        self._process = _FORKS.Process(target=_run, args=(work, settings, kb, str(log), token, sender), daemon=True)
        self._process.start()
        sender.close()

    def reach(self, stage: str, timeout_s: float = 60) -> bool:
        """Wait until a stage begins. Return False if the job ends first."""
        deadline = time.monotonic() + timeout_s
        while self.stage != stage and (begun := self._receive(deadline - time.monotonic())):
            self.stage = begun
        return self.stage == stage

    def pause(self) -> None:
        """Stop the process, as a paused machine would, until `resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        pid = self._process.pid
        assert pid
        if self._process.exitcode is None:  # not reaped, so the id is still its own
            os.kill(pid, number)

    def kill(self) -> bool:
        """Kill the process. Return False if it had already ended."""
        self._process.kill()
        return self.wait() < 0

    def wait(self, timeout_s: float = 90) -> int:
        """Return the exit code, which is negative after a signal. Fail if the job ended with an unexpected error."""
        self._process.join(timeout_s)
        while begun := self._receive(0):
            self.stage = begun
        code = self._process.exitcode
        assert code is not None, f"the job did not end within {timeout_s:g} s"
        assert code in (0, _REFUSED) or code < 0, self._log.read_text()
        return code

    def refused(self) -> bool:
        """Return whether the job ended with a MindsetError."""
        return self.wait() == _REFUSED

    def _receive(self, timeout_s: float) -> str | None:
        try:
            return str(self._stages.recv()) if self._stages.poll(max(0.0, timeout_s)) else None
        except EOFError:
            return None


def maintain(installation: Installation, kb: str) -> maintenance.MaintenanceReport:
    """Run maintenance under the build lock, as its flow does."""
    with installation.catalog.build_lock(kb) as lock:
        return maintenance.maintain(lock.build, installation.knowledge_base(kb), installation.vectors)


def _run(work: Work, settings: Settings, kb: str, log: str, token: Token, sender: Connection) -> None:
    logging.disable(logging.CRITICAL)
    with Path(log).open("w") as file:
        structlog.configure(logger_factory=structlog.PrintLoggerFactory(file))
        _announce_stages(sender.send)
        try:
            with open_installation(settings) as installation:
                sender.send("night" if work == "night" else "maintenance")
                if work == "maintenance":
                    maintain(installation, kb)
                elif token is None:
                    corpus.run_night(installation, kb)
                else:
                    corpus.run_stages(installation, Build(installation.catalog, kb, token), allow_deletions=True)
        except MindsetError:
            sys.exit(_REFUSED)
        except Exception:  # noqa: BLE001  # any unexpected error belongs in the log
            traceback.print_exc(file=file)
            sys.exit(1)


def _announce_stages(announce: Callable[[str], None]) -> None:
    """Wrap the stages of this process so that each announces its start."""
    for stage in STAGES[:-1]:
        setattr(corpus, stage, _announced(stage, getattr(corpus, stage), announce))
    promotion.deploy = _announced("deploy", promotion.deploy, announce)
    for name, function in getmembers(maintenance, isfunction):
        if function.__module__.startswith(_MAINTAINS) and name != "maintain":
            setattr(maintenance, name, _announced(f"maintenance: {name.strip('_')}", function, announce))


def _announced(stage: str, function: Callable[P, R], announce: Callable[[str], Any]) -> Callable[P, R]:
    @wraps(function)
    def announcing(*arguments: P.args, **named: P.kwargs) -> R:
        announce(stage)
        return function(*arguments, **named)

    return announcing
