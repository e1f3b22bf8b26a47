"""The index stage as a flow."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from prefect import flow, task

from flows.parameters import StageParameters, stage_name
from flows.runtime import DELAYS_S, RETRIES, building, is_transient, report_progress
from mindset.application import Installation
from mindset.catalog.build import Build
from mindset.pipeline import index as stage
from mindset.pipeline.plan import rebuild_duty_cycle, version_being_built


@flow(name="index", flow_run_name=stage_name, persist_result=True, result_serializer="json")
def index(parameters: StageParameters) -> dict[str, Any]:
    """Write the new vectors to a segment, verify and seal it, and mark the version as ready."""
    with building(parameters) as (installation, build):
        return write_segment(installation, build, parameters)


@task(
    name="write segment",
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
)
def write_segment(installation: Installation, build: Build, parameters: StageParameters) -> dict[str, Any]:
    kb = installation.knowledge_base(parameters.kb)
    version = version_being_built(installation.catalog, kb.name)
    progress = report_progress(f"index-{kb.name}", "Vectors written")
    duty_cycle = rebuild_duty_cycle(installation.catalog, kb, installation.settings.rebuild_duty_cycle)
    report = stage.index(build, kb, installation.vectors, version, duty_cycle=duty_cycle, progress=progress)
    return asdict(report)
