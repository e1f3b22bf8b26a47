"""Ingest: what changed at the sources."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from prefect import flow, task

from flows.parameters import Ingest, stage_name
from flows.stage import DELAYS_S, RETRIES, building, can_help, shown_progress
from mindset.builds import ingest as stage
from mindset.installation import Installation


@flow(name="ingest", flow_run_name=stage_name, persist_result=True, result_serializer="json")
def ingest(parameters: Ingest) -> dict[str, Any]:
    """Bring the catalog's documents up to date with the knowledge base's sources."""
    with building(parameters) as installation:
        return read_sources(installation, parameters)


@task(
    name="read sources",
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=can_help,
)
def read_sources(installation: Installation, parameters: Ingest) -> dict[str, Any]:
    kb = installation.knowledge_base(parameters.kb)
    progress = shown_progress(f"ingest-{kb.name}", "Documents read")
    return asdict(stage.ingest(installation.catalog, kb, allow_loss=parameters.allow_loss, progress=progress))
