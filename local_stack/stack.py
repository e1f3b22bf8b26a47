"""The stack as its supervisor holds it: started, watched, ended."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Final, Literal

from local_stack import lock, ports, state, watchdog
from local_stack.addresses import FIELD, Addresses, Need
from local_stack.child import Child
from local_stack.processes import end
from local_stack.servers import SERVICES, STORES, WORKERS, StackContext, addressed, describe, make_pool, preparation
from mindset.errors import StackError

State = Literal["given", "starting", "preparing", "ready", "died", "restarting", "stopping", "stopped"]
OnEvent = Callable[[str, State, str], None]
"""Told of (service, state, detail); the service `stack` is all of it."""

_LOOK_S: Final = 0.05
_STOP_S: Final = 10.0
_DEATHS, _WITHIN_S = 5, 60.0
_BACKOFF_S: Final = (0.0, 0.5, 1.0, 2.0, 4.0)
_NEED: Final[dict[str, Need]] = {
    "postgres": "postgres",
    "valkey": "redis",
    "chroma": "chroma",
    "prefect": "prefect",
    "api": "api",
}


class Stack:
    """All servers of one directory. Not safe to share between threads: one of them supervises."""

    def __init__(
        self,
        directory: Path,
        *,
        services: Iterable[str] = SERVICES,
        external: Addresses | None = None,
        fixed_ports: Mapping[str, int] | None = None,
        project: Path | None = None,
        knowledge_bases: Path | None = None,
        prepare: tuple[str, ...] | None = None,
        api_command: tuple[str, ...] = (sys.executable, "-m", "api"),
        on_event: OnEvent = lambda _service, _state, _detail: None,
    ) -> None:
        """`external` servers are not started; `prepare` is a command that runs beside them and must succeed."""
        self.directory = directory.resolve()
        self.addresses = Addresses()
        self._external = external or Addresses()
        self._services = self._ours(services)
        self._fixed_ports = dict(fixed_ports or {})
        self._project = (project or Path.cwd()).resolve()
        self._knowledge_bases = knowledge_bases
        self._prepare = prepare
        self._api_command = api_command
        self._tell = on_event
        self._children: dict[str, Child] = {}
        self._deaths: dict[str, list[float]] = {}
        self._ports: dict[str, int] = {}
        self._ready = False
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._held = ExitStack()
        self._holding = False

    def start(self) -> None:
        """Return when everything answers.

        Raises StackError naming what cannot start, and why, with nothing left running."""
        self._held.enter_context(lock.held(self.directory))
        self._holding = True
        try:
            end(self.directory, grace_s=2)  # what a supervisor left that was killed together with its watchdog
            self._watchdog = watchdog.start(self.directory, self._project)
            place = self._settle()
            preparing = Child(preparation(self._prepare, place), place) if self._prepare else None
            if preparing:
                self._tell("stack", "preparing", "")
                preparing.start()
            self._begin(list(self._services), place)
            if preparing:
                self._await_end(preparing)
            self._ready = True
            self._write()
            self._tell("stack", "ready", str(self.directory))
        except BaseException:
            self.stop()
            raise

    def watch(self) -> None:
        """One look at every server: start again what died, soon, then less soon.

        Raises StackError about one that dies again and again; the caller then stops the rest."""
        for child in self._children.values():
            self._tend(child)
        if self._watchdog is not None and self._watchdog.poll() is not None:
            self._watchdog = watchdog.start(self.directory, self._project)

    def stop(self) -> None:
        """End everything in order, users before stores; what does not end in time is killed. Twice does no harm."""
        if not self._holding:
            return  # refused: what runs in this directory is another supervisor's
        self._ready = False
        for stores in (False, True):
            leaving = [child for name, child in self._children.items() if (name in STORES) == stores and child.alive]
            for child in leaving:
                self._tell(child.server.name, "stopping", "")
                child.ask_to_stop()
            deadline = time.monotonic() + _STOP_S
            for child in leaving:
                child.wait(deadline)
                self._tell(child.server.name, "stopped", "")
        end(self.directory, grace_s=2)  # flow runs, above all, which are in no group of ours
        self._children.clear()
        if self._ports:
            self._write()
        if self._watchdog is not None:
            self._watchdog.kill()
            self._watchdog.wait()
            self._watchdog = None
        self._holding = False
        self._held.close()

    def _ours(self, services: Iterable[str]) -> tuple[str, ...]:
        asked = tuple(services)
        if unknown := [name for name in asked if name not in SERVICES]:
            raise StackError(f"No service is called {', '.join(unknown)}. There are {', '.join(SERVICES)}.")
        external = asdict(self._external)
        ours = [name for name in SERVICES if name in asked]
        ours = [name for name in ours if name not in _NEED or external[FIELD[_NEED[name]]] is None]
        # An address of Prefect says that its pools, too, are somebody else's: they have their own workers.
        if self._external.prefect_api_url is not None:
            return tuple(name for name in ours if name not in WORKERS)
        if "prefect" not in ours and (workers := [name for name in ours if name in WORKERS]):
            raise StackError(f"{', '.join(workers)} need the service prefect. Ask for it as well.")
        return tuple(ours)

    def _settle(self) -> StackContext:
        last = state.read(self.directory)
        listening = [name for name in self._services if name not in WORKERS]
        remembered = last.ports if last else {}
        chosen = ports.choose(listening, fixed=self._fixed_ports, remembered=remembered)
        self._ports = remembered | chosen
        self.addresses = self._external.filled_from(addressed(chosen))
        self._write()
        for name, need in _NEED.items():
            if url := asdict(self._external)[FIELD[need]]:
                self._tell(name, "given", url.rpartition("@")[2])  # without a password
        return StackContext(
            self.directory, self._project, self.addresses, chosen, self._api_command, self._knowledge_bases
        )

    def _begin(self, names: list[str], place: StackContext) -> None:
        started = [Child(describe(name, place), place) for name in names]
        for child in started:
            self._tell(child.server.name, "starting", "")
            child.start()
            self._children[child.server.name] = child
        while waiting := [child for child in started if not child.ready]:
            for child in waiting:
                self._await_first(child, place)
            for child in self._children.values():
                if child not in waiting:
                    self._tend(child)
            time.sleep(_LOOK_S)
        self._write()

    def _await_first(self, child: Child, place: StackContext) -> None:
        if not child.alive or child.late:
            how = "does not answer" if child.alive else f"died while it started ({child.end()})"
            raise StackError(
                f"{child.server.name} {how}. {child.server.remedy}\nThe end of {child.log}:\n{child.tail()}"
            )
        child.look()
        if child.ready:
            self._tell(child.server.name, "ready", self._where(child))
            if child.server.name == "prefect":
                for worker in (name for name in self._services if name in WORKERS):
                    make_pool(worker.removeprefix("worker-"), place)

    def _await_end(self, child: Child) -> None:
        """Return when it has done its work, tending the servers meanwhile."""
        while child.alive and not child.late:
            for server in self._children.values():
                self._tend(server)
            time.sleep(_LOOK_S)
        if not child.succeeded:
            raise StackError(
                f"{child.server.name} failed ({child.end()}). {child.server.remedy}\n"
                f"The end of {child.log}:\n{child.tail()}"
            )

    def _tend(self, child: Child) -> None:
        name = child.server.name
        if child.alive and child.ready:
            return
        deaths = self._deaths.setdefault(name, [])
        if child.alive:
            child.look()
            if child.ready:
                self._write()
                self._tell(name, "ready", self._where(child))
            elif child.late:
                child.kill()
            return
        now = time.monotonic()
        if child.fresh_death():
            deaths[:] = [*(death for death in deaths if now - death < _WITHIN_S), now]
            self._tell(name, "died", f"{child.end()}; {child.log}")
            if len(deaths) > _DEATHS:
                raise StackError(
                    f"{name} died {len(deaths)} times within {_WITHIN_S:.0f} s: the stack in {self.directory} stopped. "
                    f"{child.server.remedy}\nThe end of {child.log}:\n{child.tail()}"
                )
        if now - deaths[-1] >= _BACKOFF_S[len(deaths) - 1]:
            self._tell(name, "restarting", "")
            child.start()
            self._write()

    def _where(self, child: Child) -> str:
        return f"127.0.0.1:{child.server.port}" if child.server.port else ""

    def _write(self) -> None:
        servers = {name: child.state for name, child in self._children.items()}
        written = state.StackState(str(self.directory), os.getpid(), self._ready, self.addresses, servers, self._ports)
        state.write(written)
