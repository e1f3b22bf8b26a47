"""Chunk: changed documents are cut and placed in the version that is being built."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from prefect import flow, task
from prefect.runtime import flow_run

from flows.parameters import Stage, stage_name
from flows.stage import DELAYS_S, RETRIES, building, can_help, shown_progress
from mindset.builds import chunk as stage
from mindset.builds.plan import plan_build, rebuild_share
from mindset.installation import Installation


@flow(name="chunk", flow_run_name=stage_name, persist_result=True, result_serializer="json")
def chunk(parameters: Stage) -> dict[str, Any] | None:
    """Begin a version and place the changed documents in it; nothing changed makes no version."""
    with building(parameters) as installation:
        return cut_documents(installation, parameters)


@task(
    name="cut documents",
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=can_help,
)
def cut_documents(installation: Installation, parameters: Stage) -> dict[str, Any] | None:
    kb = installation.knowledge_base(parameters.kb)
    plan = plan_build(installation.catalog, kb)
    if not plan.builds:
        return None
    progress = shown_progress(f"chunk-{kb.name}", "Documents cut")
    run = parameters.night or flow_run.id
    share = rebuild_share(installation.catalog, kb, installation.settings.rebuild_share)
    return asdict(stage.chunk(installation.catalog, kb, plan, flow_run=run, share=share, progress=progress))
