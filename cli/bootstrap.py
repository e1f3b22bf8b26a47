"""What a stack needs besides its servers: the schema, and in a Prefect of its own the deployments and blocks.

A process of the stack, `python -m cli.bootstrap --register`, started with the servers: its imports take as long as they
need to start.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import httpx

from local_stack.addresses import Addresses, configured_addresses
from local_stack.health import is_healthy
from local_stack.servers import POOLS
from mindset.application import require_setting
from mindset.config.settings import load_settings
from mindset.errors import MindsetError, StackError

PROJECT = Path(__file__).parent.parent
"""Where prefect.yaml lies and flows are imported from, wherever the command was started."""

_REGISTER = "--register"
_DEADLINE_S = 150


def command(external: Addresses | None = None) -> tuple[str, ...]:
    """What a stack runs to be prepared. An external Prefect is left alone: its deployments are somebody else's."""
    prefect = () if external and external.prefect_api_url else (_REGISTER,)
    return (sys.executable, "-m", "cli.bootstrap", *prefect)


def bootstrap(addresses: Addresses, *, register: bool) -> None:
    """Migrate the catalog and, if asked to, register the deployments, as soon as Postgres and Prefect answer.

    Raises StackError, ServiceUnavailable."""
    with ThreadPoolExecutor(1) as thread:
        migrated = thread.submit(_migrate, addresses)
        if register and addresses.prefect_api_url:
            _register(addresses)
        migrated.result()


def _migrate(addresses: Addresses) -> None:
    if addresses.postgres_url:
        _until("Postgres", lambda: is_healthy("postgres", addresses))
        from mindset.catalog.migrations import migrate  # SQLAlchemy and Alembic: only here

        migrate(addresses.postgres_url)


def _register(addresses: Addresses) -> None:
    """Name the work pools by variables; register every deployment of prefect.yaml and every block."""
    import prefect.cli.deploy  # 5 s with the flows and blocks, while Prefect's server starts
    from prefect.variables import Variable

    import blocks.registry
    import flows.maintain
    import flows.nightly  # noqa: F401  # it imports the stages

    _until("Prefect", lambda: is_healthy("prefect", addresses))
    for pool in POOLS:
        _until(f"The work pool {pool}", partial(_has_pool, addresses, pool))
        if Variable.get(f"{pool}_pool") is None:
            Variable.set(f"{pool}_pool", pool)
    for name in blocks.registry.__all__:
        getattr(blocks.registry, name).register_type_and_schema()
    sys.argv = ["prefect", "--no-prompt", "deploy", "--all"]
    try:
        prefect.cli.app()
    except SystemExit as ended:
        if ended.code:
            raise StackError("`prefect deploy --all` failed. Correct what it names and start again.") from None


def _has_pool(addresses: Addresses, pool: str) -> bool:
    return httpx.get(f"{addresses.prefect_api_url}/work_pools/{pool}", timeout=30).status_code == httpx.codes.OK


def _until(what: str, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _DEADLINE_S
    while not holds():
        if time.monotonic() > deadline:
            raise StackError(f"{what} is not there after {_DEADLINE_S} s. See the stack's logs.")
        time.sleep(0.1)


if __name__ == "__main__":
    try:
        settings = load_settings()
        found = configured_addresses(settings)
        if settings.postgres_url:  # a reference, perhaps, to where it is kept
            found = replace(found, postgres_url=require_setting(settings.postgres_url, "postgres_url"))
        bootstrap(found, register=_REGISTER in sys.argv)
    except MindsetError as failure:
        sys.exit(str(failure))
