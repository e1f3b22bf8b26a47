"""Start, watch and stop the servers of one directory."""

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

from local_stack import credentials, lock, ports, state, watchdog
from local_stack.addresses import FIELD, Addresses, Need
from local_stack.child import Child
from local_stack.processes import stop_all
from local_stack.servers import (
    SERVICES,
    STORES,
    WORKERS,
    StackContext,
    addresses_of,
    create_work_pool,
    preparation,
    server_spec,
)
from mindset.errors import StackError

State = Literal["external", "starting", "preparing", "ready", "died", "restarting", "stopping", "stopped"]
OnEvent = Callable[[str, State, str], None]
"""Called with (service, state, detail); the service `stack` is the whole stack."""

_POLL_S: Final = 0.05
_STOP_TIMEOUT_S: Final = 10.0
_MAX_DEATHS, _DEATHS_WITHIN_S = 5, 60.0
_BACKOFF_S: Final = (0.0, 0.5, 1.0, 2.0, 4.0)
_NEED: Final[dict[str, Need]] = {
    "postgres": "postgres",
    "valkey": "redis",
    "chroma": "chroma",
    "prefect": "prefect",
    "api": "api",
}


class Stack:
    """All servers of one directory. Not thread-safe: only one thread may use it."""

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
        """`external` servers are used, not started. `prepare` is a command that runs while the servers start and must succeed."""
        self.directory = directory.resolve()
        self.addresses = Addresses()
        self._external = external or Addresses()
        self._services = self._select_services(services)
        self._fixed_ports = dict(fixed_ports or {})
        self._project = (project or Path.cwd()).resolve()
        self._knowledge_bases = knowledge_bases
        self._prepare = prepare
        self._api_command = api_command
        self._notify = on_event
        self._children: dict[str, Child] = {}
        self._deaths: dict[str, list[float]] = {}
        self._ports: dict[str, int] = {}
        self._ready = False
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._lock = ExitStack()
        self._locked = False

    def start(self) -> None:
        """Return when every server answers.

        Raises StackError naming the server that cannot start and the reason; then nothing is left running."""
        self._lock.enter_context(lock.hold(self.directory))
        self._locked = True
        try:
            stop_all(self.directory, grace_s=2)  # left over if a supervisor was killed together with its watchdog
            self._watchdog = watchdog.start(self.directory, self._project)
            context = self._choose_addresses()
            preparing = Child(preparation(self._prepare, context), context) if self._prepare else None
            if preparing:
                self._notify("stack", "preparing", "")
                preparing.start()
            self._start_servers(list(self._services), context)
            if preparing:
                self._await_end(preparing)
            self._ready = True
            self._write_state()
            self._notify("stack", "ready", str(self.directory))
        except BaseException:
            self.stop()
            raise

    def watch(self) -> None:
        """Check every server once; restart those that died, with increasing delays.

        Raises StackError if a server dies too often; the caller must then stop the stack."""
        for child in self._children.values():
            self._restart_if_dead(child)
        if self._watchdog is not None and self._watchdog.poll() is not None:
            self._watchdog = watchdog.start(self.directory, self._project)

    def stop(self) -> None:
        """Stop the servers, stores last; kill those that do not stop in time. Can be called repeatedly."""
        if not self._locked:
            return  # another supervisor uses this directory
        self._ready = False
        for stores in (False, True):
            stopping = [child for name, child in self._children.items() if (name in STORES) == stores and child.alive]
            for child in stopping:
                self._notify(child.server.name, "stopping", "")
                child.request_stop()
            deadline = time.monotonic() + _STOP_TIMEOUT_S
            for child in stopping:
                child.wait(deadline)
                self._notify(child.server.name, "stopped", "")
        stop_all(self.directory, grace_s=2)  # such as flow runs, which are not child processes
        self._children.clear()
        if self._ports:
            self._write_state()
        if self._watchdog is not None:
            self._watchdog.kill()
            self._watchdog.wait()
            self._watchdog = None
        self._locked = False
        self._lock.close()

    def _select_services(self, services: Iterable[str]) -> tuple[str, ...]:
        requested = tuple(services)
        if unknown := [name for name in requested if name not in SERVICES]:
            raise StackError(f"Unknown service {', '.join(unknown)}. Services: {', '.join(SERVICES)}.")
        external = asdict(self._external)
        own = [name for name in SERVICES if name in requested]
        own = [name for name in own if name not in _NEED or external[FIELD[_NEED[name]]] is None]
        # An external Prefect also has its own workers.
        if self._external.prefect_api_url is not None:
            return tuple(name for name in own if name not in WORKERS)
        if "prefect" not in own and (workers := [name for name in own if name in WORKERS]):
            raise StackError(f"{', '.join(workers)} need the service prefect. Add it to the services.")
        return tuple(own)

    def _choose_addresses(self) -> StackContext:
        last = state.read(self.directory)
        listening = [name for name in self._services if name not in WORKERS]
        remembered = last.ports if last else {}
        chosen = ports.choose(listening, fixed=self._fixed_ports, remembered=remembered)
        self._ports = remembered | chosen
        passwords = credentials.load_or_create(self.directory)
        self.addresses = self._external.filled_from(addresses_of(chosen, passwords))
        self._write_state()
        for name, need in _NEED.items():
            if url := asdict(self._external)[FIELD[need]]:
                self._notify(name, "external", url.rpartition("@")[2])  # without a password
        return StackContext(
            self.directory, self._project, self.addresses, chosen, passwords, self._api_command, self._knowledge_bases
        )

    def _start_servers(self, names: list[str], context: StackContext) -> None:
        started = [Child(server_spec(name, context), context) for name in names]
        for child in started:
            self._notify(child.server.name, "starting", "")
            child.start()
            self._children[child.server.name] = child
        while waiting := [child for child in started if not child.ready]:
            for child in waiting:
                self._await_ready(child, context)
            for child in self._children.values():
                if child not in waiting:
                    self._restart_if_dead(child)
            time.sleep(_POLL_S)
        self._write_state()

    def _await_ready(self, child: Child, context: StackContext) -> None:
        if not child.alive or child.overdue:
            problem = "does not answer" if child.alive else f"died while it started ({child.exit_description()})"
            raise StackError(
                f"{child.server.name} {problem}. {child.server.remedy}\nThe end of {child.log}:\n{child.tail()}"
            )
        child.check()
        if child.ready:
            self._notify(child.server.name, "ready", self._address(child))
            if child.server.name == "prefect":
                for worker in (name for name in self._services if name in WORKERS):
                    create_work_pool(worker.removeprefix("worker-"), context)

    def _await_end(self, child: Child) -> None:
        """Wait until the command has ended; restart servers that die meanwhile."""
        while child.alive and not child.overdue:
            for server in self._children.values():
                self._restart_if_dead(server)
            time.sleep(_POLL_S)
        if not child.succeeded:
            raise StackError(
                f"{child.server.name} failed ({child.exit_description()}). {child.server.remedy}\n"
                f"The end of {child.log}:\n{child.tail()}"
            )

    def _restart_if_dead(self, child: Child) -> None:
        name = child.server.name
        if child.alive and child.ready:
            return
        deaths = self._deaths.setdefault(name, [])
        if child.alive:
            child.check()
            if child.ready:
                self._write_state()
                self._notify(name, "ready", self._address(child))
            elif child.overdue:
                child.kill()
            return
        now = time.monotonic()
        if child.report_death():
            # One that never answers may live longer than a minute each time, so all its deaths count.
            if child.ready:
                deaths[:] = [death for death in deaths if now - death < _DEATHS_WITHIN_S]
            deaths.append(now)
            self._notify(name, "died", f"{child.exit_description()}; {child.log}")
            if len(deaths) > _MAX_DEATHS:
                raise StackError(
                    f"{name} died {len(deaths)} times within {_DEATHS_WITHIN_S:.0f} s or without ever answering: the stack in "
                    f"{self.directory} stopped. "
                    f"{child.server.remedy}\nThe end of {child.log}:\n{child.tail()}"
                )
        if now - deaths[-1] >= _BACKOFF_S[len(deaths) - 1]:
            self._notify(name, "restarting", "")
            child.start()
            self._write_state()

    def _address(self, child: Child) -> str:
        return f"127.0.0.1:{child.server.port}" if child.server.port else ""

    def _write_state(self) -> None:
        servers = {name: child.state for name, child in self._children.items()}
        written = state.StackState(str(self.directory), os.getpid(), self._ready, self.addresses, servers, self._ports)
        state.write(written)
