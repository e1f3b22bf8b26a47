"""The stack with real servers: what starts, what is refused, what comes back."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import chromadb
import psutil
import psycopg
import pytest
import redis

from mindset.errors import StackError
from mindset.local.addresses import Addresses, environment, given
from mindset.local.health import answers
from mindset.local.state import connect, read, running
from mindset.local.status import status
from mindset.local.supervision import local_stack
from mindset.settings import Settings
from tests.integration.local.waiting import eventually, processes_of

STORES = ("postgres", "valkey", "chroma")


def pid_of(directory: Path, name: str) -> int:
    state = read(directory)
    assert state is not None
    return state.servers[name].pid


def test_the_stores_start_answer_and_leave_nothing_behind(tmp_path: Path) -> None:
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
        assert chromadb.HttpClient(host="127.0.0.1", port=state.servers["chroma"].port or 0).heartbeat()
        assert [(server.name, server.healthy) for server in status(tmp_path)] == [(name, True) for name in STORES]
    assert running(tmp_path) is None
    assert status(tmp_path) == []
    assert processes_of(tmp_path) == []


def test_data_and_addresses_are_the_same_after_a_stop(tmp_path: Path) -> None:
    with local_stack(tmp_path, services=["postgres"]) as first, psycopg.connect(str(first.postgres_url)) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    with local_stack(tmp_path, services=["postgres"]) as second:
        assert second == first
        with psycopg.connect(str(second.postgres_url)) as connection:
            assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_a_second_stack_in_one_directory_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    with local_stack(tmp_path, services=["valkey"]) as addresses:
        refusal = rf"{tmp_path} \(supervisor pid {os.getpid()}\).*mindset down"
        with pytest.raises(StackError, match=refusal), local_stack(tmp_path, services=["valkey"]):
            pass
        assert answers("valkey", addresses)


@pytest.mark.parametrize("name", STORES)
def test_a_killed_server_comes_back_at_the_same_address(tmp_path: Path, name: str) -> None:
    events: list[tuple[str, str, str]] = []
    with local_stack(tmp_path, services=[name], on_event=lambda *event: events.append(event)) as addresses:
        killed = pid_of(tmp_path, name)
        psutil.Process(killed).kill()
        eventually(lambda: [event for event in events if event[1] == "ready"][2:])
        assert pid_of(tmp_path, name) != killed
        assert answers(name, addresses)
    assert [state for service, state, _ in events if service == name][2:5] == ["died", "restarting", "ready"]
    assert any("SIGKILL" in detail and "logs" in detail for _, state, detail in events if state == "died")


def test_postgres_comes_back_though_a_busy_backend_outlives_the_postmaster(tmp_path: Path) -> None:
    with local_stack(tmp_path, services=["postgres"]) as addresses:
        connection = psycopg.connect(str(addresses.postgres_url), autocommit=True)
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        # Busy without ever waiting, so that it does not notice: it keeps the shared memory from a new postmaster.
        connection.pgconn.send_query(b"DO 'BEGIN LOOP END LOOP; END'")
        killed = pid_of(tmp_path, "postgres")
        psutil.Process(killed).kill()
        eventually(lambda: pid_of(tmp_path, "postgres") != killed and answers("postgres", addresses))
        connection.close()
        with psycopg.connect(str(addresses.postgres_url)) as connection:
            assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_a_server_that_cannot_be_kept_alive_stops_the_stack_and_is_named(tmp_path: Path) -> None:
    def break_it() -> None:
        # In the way of its data: from now on every start fails.
        (tmp_path / "valkey").rename(tmp_path / "away")
        (tmp_path / "valkey").write_text("not a folder")
        psutil.Process(pid_of(tmp_path, "valkey")).kill()
        eventually(lambda: running(tmp_path) is None, within_s=30)

    failure = r"valkey died 6 times within 60 s[\s\S]*valkey\.log"
    with pytest.raises(StackError, match=failure), local_stack(tmp_path, services=["valkey", "postgres"]):
        break_it()
    assert processes_of(tmp_path) == []


def test_a_server_that_dies_as_it_starts_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    damaged = tmp_path / "chroma"
    damaged.mkdir()
    (damaged / "chroma.sqlite3").mkdir()
    named = rf"chroma died while it started[\s\S]*{tmp_path}/logs/chroma\.log:[\s\S]*unable to open"
    with pytest.raises(StackError, match=named), local_stack(tmp_path, services=STORES):
        pass
    assert processes_of(tmp_path) == []


def test_postgres_without_a_usable_directory_says_which_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "postgres").write_text("a file in its place")
    named = rf"postgres died[\s\S]*{tmp_path}/postgres[\s\S]*free space[\s\S]*MINDSET_DIRECTORY"
    with pytest.raises(StackError, match=named), local_stack(tmp_path, services=["postgres"]):
        pass


def test_a_stack_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "stack").write_text("")
    refusal = r"Cannot keep the local stack in .*stack.*MINDSET_DIRECTORY"
    with pytest.raises(StackError, match=refusal), local_stack(tmp_path / "stack", services=["valkey"]):
        pass


def test_a_port_asked_for_that_is_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        stack = local_stack(tmp_path, services=["valkey"], fixed_ports={"valkey": port})
        with pytest.raises(StackError, match=rf"Port {port}, asked for valkey, is in use\. Stop"), stack:
            pass


def test_a_remembered_port_that_is_taken_is_replaced(tmp_path: Path) -> None:
    with local_stack(tmp_path, services=["valkey"]):
        port = next(server.port for server in status(tmp_path))
    with socket.create_server(("127.0.0.1", port or 0)), local_stack(tmp_path, services=["valkey"]) as addresses:
        assert addresses.redis_url != f"redis://127.0.0.1:{port}/0"


def test_a_server_with_an_address_in_the_settings_is_not_started(tmp_path: Path) -> None:
    settings = Settings(
        _env_file=None, directory=tmp_path, postgres_url="postgresql://me:secret@elsewhere:5432/catalog"
    )
    events: list[tuple[str, str, str]] = []
    external = given(settings)
    with local_stack(
        tmp_path, services=["postgres", "valkey"], external=external, on_event=lambda *event: events.append(event)
    ) as addresses:
        assert [server.name for server in status(tmp_path)] == ["valkey"]
        assert addresses.postgres_url == "postgresql://me:secret@elsewhere:5432/catalog"
    assert ("postgres", "given", "elsewhere:5432/catalog") in events
    assert not (tmp_path / "postgres").exists()
    assert (tmp_path / "stack.json").stat().st_mode & 0o077 == 0


def test_settings_find_the_running_stack_and_say_what_is_missing(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, directory=tmp_path)
    with pytest.raises(StackError, match=r"No address for Valkey.*mindset up.*MINDSET_REDIS_URL"):
        connect(settings, "redis")
    with local_stack(tmp_path, services=["valkey"]) as addresses:
        found = connect(settings, "redis")
        assert found.redis_url
        assert found.redis_url.get_secret_value() == addresses.redis_url
        with pytest.raises(StackError, match="No address for Postgres"):
            connect(settings, "redis", "postgres")


def test_preparations_know_the_addresses_and_their_failure_stops_everything(tmp_path: Path) -> None:
    fails = "import os, sys; sys.exit('Cannot migrate ' + os.environ['MINDSET_REDIS_URL'])"
    stack = local_stack(tmp_path, services=["valkey"], prepare=(sys.executable, "-c", fails))
    named = r"prepare failed \(exit status 1\)[\s\S]*prepare\.log:\nCannot migrate redis://127\.0\.0\.1"
    with pytest.raises(StackError, match=named), stack:
        pass
    assert processes_of(tmp_path) == []


def test_children_are_given_the_folder_of_definitions_wherever_they_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINDSET_KNOWLEDGE_BASES", "definitions")
    says = "import os; print(os.getcwd(), os.environ['MINDSET_KNOWLEDGE_BASES'])"
    settings = Settings(_env_file=None, directory=tmp_path / "stack")
    (tmp_path / "project").mkdir()
    with local_stack(
        settings.directory, services=["valkey"], project=tmp_path / "project",
        knowledge_bases=settings.knowledge_bases, prepare=(sys.executable, "-c", says),
    ):  # fmt: skip
        told = (settings.directory / "logs" / "prepare.log").read_text()
    assert told == f"{tmp_path / 'project'} {tmp_path / 'definitions'}\n"


def test_the_environment_of_children_names_the_addresses_and_calls_nobody_home(tmp_path: Path) -> None:
    addresses = Addresses(chroma_url="http://c", prefect_api_url="http://p/api")
    variables = environment(addresses, tmp_path, tmp_path / "definitions")
    assert variables["MINDSET_KNOWLEDGE_BASES"] == str(tmp_path / "definitions")
    assert variables["MINDSET_CHROMA_URL"] == "http://c"
    assert variables["PREFECT_API_URL"] == variables["MINDSET_PREFECT_API_URL"] == "http://p/api"
    assert "MINDSET_POSTGRES_URL" not in variables
    assert variables["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert variables["PREFECT_HOME"] == str(tmp_path / "prefect")


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_prefect_and_its_workers_start_and_no_flow_run_outlives_the_stack(tmp_path: Path) -> None:
    with local_stack(tmp_path, services=["prefect", "worker-cpu", "worker-gpu"]) as addresses:
        assert [server.healthy for server in status(tmp_path)] == [True, True, True]
        # As a flow run of a process worker does: a session of its own, away from its parent.
        worker = psutil.Process(pid_of(tmp_path, "worker-cpu"))
        assert worker.environ()["PREFECT_API_URL"] == addresses.prefect_api_url
        run = psutil.Popen(
            [sys.executable, "-c", "import signal; signal.pause()"], env=worker.environ(), start_new_session=True
        )
        worker.send_signal(signal.SIGKILL)
        eventually(
            lambda: pid_of(tmp_path, "worker-cpu") != worker.pid and answers("worker-cpu", addresses), within_s=60
        )
        assert run.is_running()
    assert run.wait(timeout=5) is not None
    assert processes_of(tmp_path) == []
