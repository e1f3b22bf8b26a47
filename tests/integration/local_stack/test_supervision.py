"""The supervisor as a process: however it ends, it leaves no processes behind."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from local_stack.state import running
from local_stack.supervision import detach, down, local_stack
from mindset.errors import StackError
from tests.integration.local_stack.processes import processes_of
from tests.waiting import wait_until

STORES = ("postgres", "valkey", "chroma")
SUPERVISOR = Path(__file__).with_name("supervisor.py")


def command(directory: Path, *services: str) -> list[str]:
    return [sys.executable, str(SUPERVISOR), str(directory), *services]


def watchdogs(supervisor: int) -> set[int]:
    pids = set()
    for child in psutil.Process(supervisor).children():
        with suppress(psutil.Error):
            if "local_stack.watchdog" in child.cmdline():
                pids.add(child.pid)
    return pids


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command(tmp_path, *STORES))
    try:
        wait_until(lambda: running(tmp_path))
        yield process
    finally:
        process.kill()
        process.wait()
        wait_until(lambda: not processes_of(tmp_path))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_stops_all_servers_cleanly(
    tmp_path: Path, supervisor: subprocess.Popen[bytes], number: signal.Signals
) -> None:
    supervisor.send_signal(number)
    assert supervisor.wait(timeout=20) == 0
    assert processes_of(tmp_path) == []
    assert "database system is shut down" in (tmp_path / "logs" / "postgres.log").read_text()


def test_killed_supervisor_leaves_no_orphans(tmp_path: Path, supervisor: subprocess.Popen[bytes]) -> None:
    assert len(processes_of(tmp_path)) > len(STORES)
    supervisor.kill()
    supervisor.wait()
    wait_until(lambda: not processes_of(tmp_path))
    assert running(tmp_path) is None


def test_stack_starts_right_after_its_supervisor_was_killed(
    tmp_path: Path, supervisor: subprocess.Popen[bytes]
) -> None:
    before = running(tmp_path)
    supervisor.kill()
    supervisor.wait()
    with local_stack(tmp_path, services=STORES) as addresses:
        assert before is not None
        assert addresses == before.addresses


def test_next_stack_cleans_up_if_the_watchdog_was_killed_too(
    tmp_path: Path, supervisor: subprocess.Popen[bytes]
) -> None:
    # Stopped first: a running supervisor would replace its watchdog.
    supervisor.send_signal(signal.SIGSTOP)
    for watchdog in watchdogs(supervisor.pid):
        psutil.Process(watchdog).kill()
    supervisor.kill()
    supervisor.wait()
    assert processes_of(tmp_path)
    with local_stack(tmp_path, services=["valkey"]):
        assert not [line for line in processes_of(tmp_path) if "postgres" in line or "chroma" in line]


def test_killed_watchdog_is_replaced(tmp_path: Path, supervisor: subprocess.Popen[bytes]) -> None:
    (first,) = watchdogs(supervisor.pid)
    psutil.Process(first).kill()
    wait_until(lambda: watchdogs(supervisor.pid) - {first})


def test_detached_stack_is_ready_on_return_and_stops_on_request(tmp_path: Path) -> None:
    state = detach(tmp_path, command(tmp_path, "valkey"))
    try:
        assert state.addresses.redis_url
        with pytest.raises(StackError, match=rf"already running in {tmp_path} \(supervisor pid {state.supervisor}\)"):
            detach(tmp_path, command(tmp_path, "valkey"))
    finally:
        assert down(tmp_path)
    wait_until(lambda: not processes_of(tmp_path))
    assert not down(tmp_path)


def test_detached_stack_that_cannot_start_reports_the_reason(tmp_path: Path) -> None:
    (tmp_path / "postgres").write_text("a file in its place")
    with pytest.raises(StackError, match=r"did not start \(exit status 1\)[\s\S]*postgres died while it started"):
        detach(tmp_path, command(tmp_path, "postgres"))


def test_down_kills_a_supervisor_that_does_not_react(tmp_path: Path, supervisor: subprocess.Popen[bytes]) -> None:
    supervisor.send_signal(signal.SIGSTOP)
    assert down(tmp_path, deadline_s=0.5)
    supervisor.wait()
    wait_until(lambda: not processes_of(tmp_path))
