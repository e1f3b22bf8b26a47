"""Run a stack in the foreground, within a block or in the background, and stop one that runs in another process."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from local_stack import lock, state
from local_stack.addresses import Addresses
from local_stack.child import tail
from local_stack.processes import environment_outside_stack, stop_all
from local_stack.servers import SERVICES
from local_stack.stack import OnEvent, Stack
from mindset.errors import StackError

_POLL_S: Final = 0.2
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def supervise(stack: Stack) -> None:
    """Start the stack and keep it running until Ctrl-C, SIGTERM or SIGHUP. Must be called in the main thread.

    Raises StackError if a server cannot start or dies too often; then everything is stopped."""
    # A signal may interrupt at any point. A server that is just starting already has the stack's variable, so `stop` finds it.
    before = {number: signal.signal(number, signal.default_int_handler) for number in _SIGNALS}
    try:
        stack.start()
        while True:
            stack.watch()
            time.sleep(_POLL_S)
    except KeyboardInterrupt:
        return
    finally:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # stopping has deadlines; a second Ctrl-C must not interrupt it
        stack.stop()
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def local_stack(
    directory: Path,
    *,
    services: Iterable[str] = SERVICES,
    prepare: tuple[str, ...] | None = None,
    external: Addresses | None = None,
    fixed_ports: Mapping[str, int] | None = None,
    project: Path | None = None,
    knowledge_bases: Path | None = None,
    on_event: OnEvent = lambda _service, _state, _detail: None,
) -> Iterator[Addresses]:
    """Run a stack for the length of a block; a thread watches it.

    Raises StackError if a server cannot start or, at the end of the block, if one died too often."""
    stack = Stack(
        directory,
        services=services,
        prepare=prepare,
        external=external,
        fixed_ports=fixed_ports,
        project=project,
        knowledge_bases=knowledge_bases,
        on_event=on_event,
    )
    stack.start()
    over = threading.Event()
    failures: list[StackError] = []
    watcher = threading.Thread(target=_watch_until, args=(stack, over, failures), name="local-stack", daemon=True)
    watcher.start()
    try:
        yield stack.addresses
    finally:
        over.set()
        watcher.join()
        stack.stop()
    if failures:
        raise failures[0]


def detach(directory: Path, command: Sequence[str], *, deadline_s: float = 180) -> state.StackState:
    """Run a command that supervises the directory in the background; return when the stack is ready.

    Raises StackError with the end of the log if the command ends or the deadline passes before."""
    if (pid := lock.holder(directory)) is not None:
        raise lock.already_running(directory, pid)
    log = directory / "logs" / "supervisor.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StackError(f"Cannot log to {log}: {error.strerror}. Name another folder in MINDSET_DIRECTORY.") from None
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment_outside_stack(),
            start_new_session=True,
        )
    deadline = time.monotonic() + deadline_s
    while process.poll() is None:
        if (found := state.running(directory)) is not None:
            return found
        if time.monotonic() > deadline:
            process.terminate()
            raise StackError(
                f"The stack in {directory} was not ready within {deadline_s:.0f} s, and is being stopped. "
                f"See {log}:\n{tail(log)}"
            )
        time.sleep(_POLL_S)
    raise StackError(
        f"The stack in {directory} did not start (exit status {process.returncode}). {log}:\n{tail(log, 40)}"
    )


def down(directory: Path, *, deadline_s: float = 40) -> bool:
    """Stop the stack of a directory, if necessary by force; False if none was running."""
    if (pid := lock.holder(directory)) is None:
        return False
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + deadline_s
    while lock.holder(directory) is not None:
        if time.monotonic() > deadline:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with lock.hold(directory, cleaning=True):
                stop_all(directory, grace_s=5)
            break
        time.sleep(_POLL_S)
    return True


def _watch_until(stack: Stack, over: threading.Event, failures: list[StackError]) -> None:
    while not over.wait(_POLL_S):
        try:
            stack.watch()
        except StackError as failure:
            failures.append(failure)
            stack.stop()
            return
