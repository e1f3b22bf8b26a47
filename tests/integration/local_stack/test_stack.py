"""The local stack with real servers: start, refusals, restarts."""

from __future__ import annotations

import os
import signal
import socket
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from local_stack.addresses import Addresses, configured_addresses, environment
from local_stack.health import is_healthy
from local_stack.stack import Stack
from local_stack.state import connect, read, running
from local_stack.status import status
from local_stack.supervision import local_stack
from mindset.config.settings import Settings
from mindset.errors import StackError
from mindset.vector_index.client import open_client
from tests.integration.local_stack.processes import processes_of
from tests.waiting import wait_until

STORES = ("postgres", "valkey", "chroma")


def pid_of(directory: Path, name: str) -> int:
    state = read(directory)
    assert state is not None
    return state.servers[name].pid


def test_stores_start_and_stop_without_leftover_processes(tmp_path: Path) -> None:
    with local_stack(tmp_path, services=STORES) as addresses:
        assert addresses.postgres_url
        assert addresses.redis_url
        with psycopg.connect(addresses.postgres_url) as connection:
            assert connection.execute("SHOW fsync").fetchone() == ("on",)
            assert connection.execute("SELECT lower('ÄÖ')").fetchone() == ("äö",)
        with redis.Redis.from_url(addresses.redis_url) as client:
            assert client.ping()
        state = running(tmp_path)
        assert state is not None
        assert open_client(addresses.chroma_url or "").heartbeat()
        assert [(server.name, server.healthy) for server in status(tmp_path)] == [(name, True) for name in STORES]
    assert running(tmp_path) is None
    assert status(tmp_path) == []
    assert processes_of(tmp_path) == []


def test_restart_keeps_data_and_addresses(tmp_path: Path) -> None:
    with local_stack(tmp_path, services=["postgres"]) as first, psycopg.connect(str(first.postgres_url)) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    with local_stack(tmp_path, services=["postgres"]) as second:
        assert second == first
        with psycopg.connect(str(second.postgres_url)) as connection:
            assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_second_stack_in_a_directory_is_refused(tmp_path: Path) -> None:
    with local_stack(tmp_path, services=["valkey"]) as addresses:
        refusal = rf"{tmp_path} \(supervisor pid {os.getpid()}\).*mindset down"
        with pytest.raises(StackError, match=refusal), local_stack(tmp_path, services=["valkey"]):
            pass
        assert is_healthy("valkey", addresses)


@pytest.mark.parametrize("name", STORES)
def test_killed_server_is_restarted_at_the_same_address(tmp_path: Path, name: str) -> None:
    events: list[tuple[str, str, str]] = []
    with local_stack(tmp_path, services=[name], on_event=lambda *event: events.append(event)) as addresses:
        killed = pid_of(tmp_path, name)
        psutil.Process(killed).kill()
        wait_until(lambda: [event for event in events if event[1] == "ready"][2:])
        assert pid_of(tmp_path, name) != killed
        assert is_healthy(name, addresses)
    assert [state for service, state, _ in events if service == name][2:5] == ["died", "restarting", "ready"]
    assert any("SIGKILL" in detail and "logs" in detail for _, state, detail in events if state == "died")


def test_postgres_restarts_although_a_busy_backend_outlives_the_postmaster(tmp_path: Path) -> None:
    with local_stack(tmp_path, services=["postgres"]) as addresses:
        connection = psycopg.connect(str(addresses.postgres_url), autocommit=True)
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        # A busy loop never notices that the postmaster died, and holds the shared memory that a new one needs.
        connection.pgconn.send_query(b"DO 'BEGIN LOOP END LOOP; END'")
        killed = pid_of(tmp_path, "postgres")
        psutil.Process(killed).kill()
        wait_until(lambda: pid_of(tmp_path, "postgres") != killed and is_healthy("postgres", addresses))
        connection.close()
        with psycopg.connect(str(addresses.postgres_url)) as connection:
            assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_server_that_keeps_dying_stops_the_stack(tmp_path: Path) -> None:
    def break_it() -> None:
        # A file in place of its data directory makes every start fail.
        (tmp_path / "valkey").rename(tmp_path / "away")
        (tmp_path / "valkey").write_text("not a folder")
        psutil.Process(pid_of(tmp_path, "valkey")).kill()
        wait_until(lambda: running(tmp_path) is None, 60)

    failure = r"valkey died 6 times within 60 s or without ever answering[\s\S]*valkey\.log"
    with pytest.raises(StackError, match=failure), local_stack(tmp_path, services=["valkey", "postgres"]):
        break_it()
    assert processes_of(tmp_path) == []


def test_server_that_never_answers_stops_the_stack(tmp_path: Path) -> None:
    stack = Stack(tmp_path, services=["valkey"])
    stack.start()
    try:
        child = stack._children["valkey"]
        silent = [sys.executable, "-c", "import time; time.sleep(600)"]
        child.server = replace(child.server, command=tuple(silent), deadline_s=0.2)
        psutil.Process(pid_of(tmp_path, "valkey")).kill()
        with pytest.raises(StackError, match="valkey died 6 times"):
            wait_until(stack.watch, 60)
    finally:
        stack.stop()


def test_deaths_long_ago_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("local_stack.stack._DEATHS_WITHIN_S", 0.0)
    stack = Stack(tmp_path, services=["valkey"])
    stack.start()
    child = stack._children["valkey"]
    try:
        for _ in range(8):
            killed = pid_of(tmp_path, "valkey")
            psutil.Process(killed).kill()
            wait_until(lambda: not child.alive)
            wait_until(lambda: watched(stack) and child.alive and child.ready, 60)
            assert pid_of(tmp_path, "valkey") != killed
    finally:
        stack.stop()


def watched(stack: Stack) -> bool:
    stack.watch()
    return True


def test_server_that_fails_to_start_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    damaged = tmp_path / "chroma"
    damaged.mkdir()
    (damaged / "chroma.sqlite3").mkdir()
    named = rf"chroma died while it started[\s\S]*{tmp_path}/logs/chroma\.log:[\s\S]*unable to open"
    with pytest.raises(StackError, match=named), local_stack(tmp_path, services=STORES):
        pass
    assert processes_of(tmp_path) == []


def test_unusable_postgres_directory_is_reported_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "postgres").write_text("a file in its place")
    named = rf"postgres died[\s\S]*{tmp_path}/postgres[\s\S]*free space[\s\S]*MINDSET_DIRECTORY"
    with pytest.raises(StackError, match=named), local_stack(tmp_path, services=["postgres"]):
        pass


def test_stack_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "stack").write_text("")
    refusal = r"Cannot keep the local stack in .*stack.*MINDSET_DIRECTORY"
    with pytest.raises(StackError, match=refusal), local_stack(tmp_path / "stack", services=["valkey"]):
        pass


def test_requested_port_in_use_is_reported(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        stack = local_stack(tmp_path, services=["valkey"], fixed_ports={"valkey": port})
        with pytest.raises(StackError, match=rf"Port {port} for valkey is in use\. Stop"), stack:
            pass


def test_remembered_port_in_use_is_replaced(tmp_path: Path) -> None:
    with local_stack(tmp_path, services=["valkey"]):
        port = next(server.port for server in status(tmp_path))
    with socket.create_server(("127.0.0.1", port or 0)), local_stack(tmp_path, services=["valkey"]) as addresses:
        assert addresses.redis_url != f"redis://127.0.0.1:{port}/0"


def test_server_with_an_address_in_the_settings_is_not_started(tmp_path: Path) -> None:
    settings = Settings(
        _env_file=None, directory=tmp_path, postgres_url="postgresql://me:secret@elsewhere:5432/catalog"
    )
    events: list[tuple[str, str, str]] = []
    external = configured_addresses(settings)
    with local_stack(
        tmp_path, services=["postgres", "valkey"], external=external, on_event=lambda *event: events.append(event)
    ) as addresses:
        assert [server.name for server in status(tmp_path)] == ["valkey"]
        assert addresses.postgres_url == "postgresql://me:secret@elsewhere:5432/catalog"
    assert ("postgres", "external", "elsewhere:5432/catalog") in events
    assert not (tmp_path / "postgres").exists()
    assert (tmp_path / "stack.json").stat().st_mode & 0o077 == 0


def test_settings_find_the_running_stack_and_report_missing_servers(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, directory=tmp_path)
    with pytest.raises(StackError, match=r"No address for Valkey.*mindset up.*MINDSET_REDIS_URL"):
        connect(settings, "redis")
    with local_stack(tmp_path, services=["valkey"]) as addresses:
        connected = connect(settings, "redis")
        assert connected.redis_url
        assert connected.redis_url.get_secret_value() == addresses.redis_url
        with pytest.raises(StackError, match="No address for Postgres"):
            connect(settings, "redis", "postgres")


def test_failed_preparation_stops_the_stack(tmp_path: Path) -> None:
    fails = "import os, sys; sys.exit('Cannot migrate ' + os.environ['MINDSET_REDIS_URL'].rpartition('@')[2])"
    stack = local_stack(tmp_path, services=["valkey"], prepare=(sys.executable, "-c", fails))
    named = r"prepare failed \(exit status 1\)[\s\S]*prepare\.log:\nCannot migrate 127\.0\.0\.1"
    with pytest.raises(StackError, match=named), stack:
        pass
    assert processes_of(tmp_path) == []


def test_children_get_the_absolute_path_of_the_definitions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINDSET_KNOWLEDGE_BASES", "definitions")
    script = "import os; print(os.getcwd(), os.environ['MINDSET_KNOWLEDGE_BASES'])"
    settings = Settings(_env_file=None, directory=tmp_path / "stack")
    (tmp_path / "project").mkdir()
    with local_stack(
        settings.directory, services=["valkey"], project=tmp_path / "project",
        knowledge_bases=settings.knowledge_bases, prepare=(sys.executable, "-c", script),
    ):  # fmt: skip
        printed = (settings.directory / "logs" / "prepare.log").read_text()
    assert printed == f"{tmp_path / 'project'} {tmp_path / 'definitions'}\n"


def test_environment_of_children_has_the_addresses_and_disables_telemetry(tmp_path: Path) -> None:
    addresses = Addresses(chroma_url="http://c", prefect_api_url="http://p/api")
    variables = environment(addresses, tmp_path, tmp_path / "definitions")
    assert variables["MINDSET_KNOWLEDGE_BASES"] == str(tmp_path / "definitions")
    assert variables["MINDSET_CHROMA_URL"] == "http://c"
    assert variables["PREFECT_API_URL"] == variables["MINDSET_PREFECT_API_URL"] == "http://p/api"
    assert "MINDSET_POSTGRES_URL" not in variables
    assert variables["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert variables["PREFECT_HOME"] == str(tmp_path / "prefect")
    assert "PREFECT_API_AUTH_STRING" not in variables


def test_password_of_prefect_is_not_in_the_address_that_its_clients_log() -> None:
    variables = environment(Addresses(prefect_api_url="http://mindset:s%2Fcret@p:1/api"))
    assert variables["PREFECT_API_URL"] == "http://p:1/api"
    assert variables["PREFECT_API_AUTH_STRING"] == "mindset:s/cret"
    assert variables["MINDSET_PREFECT_API_URL"] == "http://mindset:s%2Fcret@p:1/api"


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_prefect_and_its_workers_start_and_stop_with_their_flow_runs(tmp_path: Path) -> None:
    with local_stack(tmp_path, services=["prefect", "worker-cpu", "worker-gpu"]) as addresses:
        assert [server.healthy for server in status(tmp_path)] == [True, True, True]
        # A process worker starts flow runs in their own session, detached from the worker.
        worker = psutil.Process(pid_of(tmp_path, "worker-cpu"))
        assert worker.environ()["MINDSET_PREFECT_API_URL"] == addresses.prefect_api_url
        assert "@" not in worker.environ()["PREFECT_API_URL"]
        run = psutil.Popen(
            [sys.executable, "-c", "import signal; signal.pause()"], env=worker.environ(), start_new_session=True
        )
        worker.send_signal(signal.SIGKILL)
        wait_until(lambda: pid_of(tmp_path, "worker-cpu") != worker.pid and is_healthy("worker-cpu", addresses), 90)
        assert run.is_running()
    assert run.wait(timeout=20) is not None
    assert processes_of(tmp_path) == []
