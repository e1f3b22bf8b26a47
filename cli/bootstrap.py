"""Bootstrapping of a local stack: migrate the schema, and register deployments and blocks in its own Prefect.

It runs as a process of the stack, `python -m cli.bootstrap --register`, started together with the servers, because its
imports take as long as their start.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import httpx

from cli import registration
from local_stack.addresses import Addresses, configured_addresses
from local_stack.health import is_healthy
from local_stack.servers import POOLS
from mindset.application import require_setting
from mindset.config.settings import load_settings
from mindset.errors import MindsetError, StackError

_REGISTER = "--register"
_TIMEOUT_S = 150


def command(external: Addresses | None = None) -> tuple[str, ...]:
    """Return the command that bootstraps a stack. Nothing is registered in an external Prefect."""
    prefect = () if external and external.prefect_api_url else (_REGISTER,)
    return (sys.executable, "-m", "cli.bootstrap", *prefect)


def bootstrap(addresses: Addresses, *, register: bool) -> None:
    """Migrate the catalog and, with `register`, register the deployments, as soon as Postgres and Prefect respond.

    Raises StackError, ServiceUnavailable."""
    with ThreadPoolExecutor(1) as thread:
        migrated = thread.submit(_migrate, addresses)
        if register and addresses.prefect_api_url:
            _register(addresses)
        migrated.result()


def _migrate(addresses: Addresses) -> None:
    if addresses.postgres_url:
        _wait_until("Postgres", lambda: is_healthy("postgres", addresses))
        from mindset.catalog.migrations import migrate  # SQLAlchemy and Alembic are slow to import

        migrate(addresses.postgres_url)


def _register(addresses: Addresses) -> None:
    """Set the variables that name the work pools; register every deployment of prefect.yaml and every block."""
    registration.load()  # while Prefect's server starts
    from prefect.variables import Variable

    _wait_until("Prefect", lambda: is_healthy("prefect", addresses))
    for pool in POOLS:
        _wait_until(f"The work pool {pool}", partial(_has_pool, addresses, pool))
        if Variable.get(f"{pool}_pool") is None:
            Variable.set(f"{pool}_pool", pool)
    for change in registration.register():
        print(change)  # noqa: T201  # to the stack's log


def _has_pool(addresses: Addresses, pool: str) -> bool:
    return httpx.get(f"{addresses.prefect_api_url}/work_pools/{pool}", timeout=30).status_code == httpx.codes.OK


def _wait_until(server: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _TIMEOUT_S
    while not condition():
        if time.monotonic() > deadline:
            raise StackError(f"{server} is not available after {_TIMEOUT_S} s. See the stack's logs.")
        time.sleep(0.1)


if __name__ == "__main__":
    try:
        settings = load_settings()
        addresses = configured_addresses(settings)
        if settings.postgres_url:  # it may be a secret reference
            addresses = replace(addresses, postgres_url=require_setting(settings.postgres_url, "postgres_url"))
        bootstrap(addresses, register=_REGISTER in sys.argv)
    except MindsetError as failure:
        sys.exit(str(failure))
