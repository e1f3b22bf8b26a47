"""What a stack needs between its stores and its workers: the schema, and Prefect's deployments."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from mindset.errors import StackError
from mindset.local.addresses import Addresses, environment

PROJECT = Path(__file__).parent.parent
"""Where prefect.yaml lies and flows are imported from, wherever the command was started."""


def prepare(addresses: Addresses) -> None:
    """Migrate the catalog and register the deployments. Raises StackError, ServiceUnavailable."""
    from mindset.catalog.migrations import migrate  # SQLAlchemy and Alembic: half a second that no other command needs

    with ThreadPoolExecutor(2) as threads:
        steps = []
        if addresses.postgres_url:
            steps.append(threads.submit(migrate, addresses.postgres_url))
        if addresses.prefect_api_url:
            steps.append(threads.submit(register_deployments, addresses))
        for step in steps:
            step.result()


def register_deployments(addresses: Addresses) -> None:
    """Name the work pools by variables, and register every deployment of prefect.yaml. Raises StackError."""
    for name, pool in (("cpu_pool", "cpu"), ("gpu_pool", "gpu")):
        answer = httpx.post(f"{addresses.prefect_api_url}/variables/", json={"name": name, "value": pool}, timeout=30)
        if answer.status_code not in (httpx.codes.CREATED, httpx.codes.CONFLICT):
            raise StackError(f"Prefect did not take the variable {name}: {answer.text}. See its log.")
    _prefect(addresses, "--no-prompt", "deploy", "--all")
    _prefect(addresses, "block", "register", "--module", "blocks.registry")


def _prefect(addresses: Addresses, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prefect", *arguments],
        env=dict(os.environ) | environment(addresses),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise StackError(f"`prefect {' '.join(arguments)}` failed. Correct what it names and start again.\n{tail}")
