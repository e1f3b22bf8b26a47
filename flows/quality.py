"""Quality: what is expected of documents, checked by Great Expectations, for people; nothing is decided by it."""

from __future__ import annotations

import os
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact

from flows.parameters import Quality, stage_name
from flows.stage import DELAYS_S, RETRIES, can_help
from flows.stage import installation as opened
from mindset.catalog.documents import document_measures
from mindset.installation import Installation

# A handful of changes says nothing about quality, and a run of its own costs some ten seconds of a processor.
LEAST_DOCUMENTS = 50


@flow(name="quality", flow_run_name=stage_name, persist_result=False)
def quality(parameters: Quality) -> None:
    """Check a knowledge base's documents, or those that were read since a moment, and leave a table of what was found."""
    os.nice(19)  # questions and the next night go first
    with opened(parameters.connections) as installation:
        rows = check_quality(installation, parameters)
    unmet = [row["expectation"] for row in rows if not row["met"]]
    get_run_logger().info("Not met: %s", ", ".join(unmet) or "none")


@task(
    name="check quality",
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=can_help,
)
def check_quality(installation: Installation, parameters: Quality) -> list[dict[str, Any]]:
    """A row for each expectation."""
    from flows.expectations import check

    with installation.catalog.reading() as connection:
        measures = document_measures(connection, parameters.kb, parameters.since)
    rows = check(measures) if measures else []
    create_table_artifact(
        rows, key=f"quality-{parameters.kb}", description=f"Quality of {len(measures)} documents of {parameters.kb}"
    )
    return rows
