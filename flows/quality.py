"""The quality report: expectations of documents, checked by Great Expectations. No release depends on it."""

from __future__ import annotations

import os
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact

from flows.parameters import QualityParameters, stage_name
from flows.runtime import DELAYS_S, RETRIES, is_transient, open_flow_installation
from mindset.application import Installation
from mindset.catalog.documents import document_statistics

# A few changed documents say nothing about quality, and a run takes about ten seconds of CPU time.
MIN_DOCUMENTS = 50


@flow(name="quality", flow_run_name=stage_name, persist_result=False)
def quality(parameters: QualityParameters) -> None:
    """Check a knowledge base's documents, or those read since a given time, and publish a table of the results."""
    os.nice(19)  # questions and the next night have priority
    with open_flow_installation(parameters.connections) as installation:
        rows = check_quality(installation, parameters)
    unmet = [row["expectation"] for row in rows if not row["met"]]
    get_run_logger().info("Expectations not met: %s", ", ".join(unmet) or "none")


@task(
    name="check quality",
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
)
def check_quality(installation: Installation, parameters: QualityParameters) -> list[dict[str, Any]]:
    """Return one row per expectation."""
    from flows.expectations import check

    with installation.catalog.reading() as connection:
        statistics = document_statistics(connection, parameters.kb, parameters.since)
    rows = check(statistics) if statistics else []
    create_table_artifact(
        rows, key=f"quality-{parameters.kb}", description=f"Quality of {len(statistics)} documents of {parameters.kb}"
    )
    return rows
