"""The ingest stage as a flow."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from prefect import flow, task

from flows.parameters import IngestParameters, stage_name
from flows.runtime import DELAYS_S, RETRIES, building, is_transient, report_progress
from mindset.application import Installation
from mindset.catalog.build import Build
from mindset.pipeline import ingest as stage


@flow(name="ingest", flow_run_name=stage_name, persist_result=True, result_serializer="json")
def ingest(parameters: IngestParameters) -> dict[str, Any]:
    """Update the catalog's documents from the knowledge base's sources."""
    with building(parameters) as (installation, build):
        return read_sources(installation, build, parameters)


@task(
    name="read sources",
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
)
def read_sources(installation: Installation, build: Build, parameters: IngestParameters) -> dict[str, Any]:
    kb = installation.knowledge_base(parameters.kb)
    progress = report_progress(f"ingest-{kb.name}", "Documents read")
    report = stage.ingest(build, kb, allow_deletions=parameters.allow_deletions, progress=progress)
    # Not every document: the result is stored, and the night reads them from the catalog.
    return {**asdict(report), "quarantined": len(report.quarantined)}
