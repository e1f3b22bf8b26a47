"""Running a stack: in the foreground, beside a test, in the background; and stopping one from outside."""

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
from local_stack.processes import end, unmarked
from local_stack.servers import SERVICES
from local_stack.stack import OnEvent, Stack
from mindset.errors import StackError

_LOOK_S: Final = 0.2
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def supervise(stack: Stack) -> None:
    """Start the stack, keep it running, and stop it on Ctrl-C, SIGTERM or SIGHUP. Only for the main thread.

    Raises StackError, with everything stopped, if it cannot start or a server cannot be kept alive."""
    # At any point a signal may interrupt: what is half-started carries the directory's mark, so that `stop` finds it.
    before = {number: signal.signal(number, signal.default_int_handler) for number in _SIGNALS}
    try:
        stack.start()
        while True:
            stack.watch()
            time.sleep(_LOOK_S)
    except KeyboardInterrupt:
        return
    finally:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # stopping has deadlines of its own; a second Ctrl-C would tear it
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
    """A stack for the length of a block, watched by a thread.

    Raises StackError if it cannot start or, when the block ends, if a server could not be kept alive."""
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
    """Run a command that supervises the directory in the background; return when its stack is ready.

    Raises StackError with the end of its log if it ends before, or is not ready in time."""
    if (pid := lock.holder(directory)) is not None:
        raise lock.refuse_second(directory, pid)
    log = directory / "logs" / "supervisor.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
    except OSError as wrong:
        raise StackError(f"Cannot log to {log}: {wrong.strerror}. Name another folder in MINDSET_DIRECTORY.") from None
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=unmarked(),
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
        time.sleep(_LOOK_S)
    raise StackError(
        f"The stack in {directory} did not start (exit status {process.returncode}). {log}:\n{tail(log, 40)}"
    )


def down(directory: Path, *, deadline_s: float = 40) -> bool:
    """Stop the stack of a directory, by force if it must be; False if none was running."""
    if (pid := lock.holder(directory)) is None:
        return False
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + deadline_s
    while lock.holder(directory) is not None:
        if time.monotonic() > deadline:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with lock.held(directory, cleaning=True):
                end(directory, grace_s=5)
            break
        time.sleep(_LOOK_S)
    return True


def _watch_until(stack: Stack, over: threading.Event, failures: list[StackError]) -> None:
    while not over.wait(_LOOK_S):
        try:
            stack.watch()
        except StackError as failure:
            failures.append(failure)
            stack.stop()
            return
