"""The chunk stage as a flow."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from prefect import flow, task
from prefect.runtime import flow_run

from flows.parameters import StageParameters, stage_name
from flows.runtime import DELAYS_S, RETRIES, building, is_transient, report_progress
from mindset.application import Installation
from mindset.catalog.build import Build
from mindset.pipeline import chunk as stage
from mindset.pipeline.plan import plan_build, rebuild_duty_cycle


@flow(name="chunk", flow_run_name=stage_name, persist_result=True, result_serializer="json")
def chunk(parameters: StageParameters) -> dict[str, Any] | None:
    """Begin a version and place the changed documents in it. Returns None if nothing changed."""
    with building(parameters) as (installation, build):
        return chunk_documents(installation, build, parameters)


@task(
    name="chunk documents",
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
)
def chunk_documents(installation: Installation, build: Build, parameters: StageParameters) -> dict[str, Any] | None:
    kb = installation.knowledge_base(parameters.kb)
    plan = plan_build(installation.catalog, kb)
    if not plan.builds:
        return None
    progress = report_progress(f"chunk-{kb.name}", "Documents chunked")
    run = parameters.night or flow_run.id
    duty_cycle = rebuild_duty_cycle(installation.catalog, kb, installation.settings.rebuild_duty_cycle)
    report = stage.chunk(build, kb, plan, flow_run=run, duty_cycle=duty_cycle, progress=progress)
    # Not every document: the result is stored, and the night reads them from the catalog.
    return {**asdict(report), "quarantined": len(report.quarantined)}
