"""The quality report of a night's documents: checks by Great Expectations, for people; nothing is decided by it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from prefect import task
from prefect.artifacts import create_table_artifact

from flows.stage import DELAYS_S, RETRIES, can_help
from mindset.catalog.documents import document_measures
from mindset.installation import Installation

# Importing Great Expectations takes as long as a night over a few documents: a handful of changes is not worth it.
LEAST_DOCUMENTS = 50

# The night waits for it at its end, and holds the build lock.
_TIMEOUT_S = 600


@task(
    name="check quality",
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=can_help,
)
def check_quality(installation: Installation, kb: str, uris: list[str]) -> list[dict[str, Any]]:
    """Check what was added or changed, and leave a table of it; each row is one expectation.

    Raises RuntimeError with the last line that the check wrote where it breaks, TimeoutExpired after ten minutes."""
    with installation.catalog.reading() as connection:
        measures = document_measures(connection, kb, uris)
    checked = subprocess.run(
        [sys.executable, "-m", "flows.expectations"],
        input=json.dumps(measures), capture_output=True, text=True, check=False, timeout=_TIMEOUT_S,
    )  # fmt: skip
    if checked.returncode:
        last = "".join(checked.stderr.strip().splitlines()[-1:])
        raise RuntimeError(f"it ended with status {checked.returncode}: {last}")
    rows: list[dict[str, Any]] = json.loads(checked.stdout)
    create_table_artifact(
        rows, key=f"quality-{kb}", description=f"Quality of {len(measures)} new or changed documents of {kb}"
    )
    return rows
