"""Index: new vectors become a sealed segment, and the version is ready."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from prefect import flow, task

from flows.parameters import Stage, stage_name
from flows.stage import DELAYS_S, RETRIES, building, can_help, shown_progress
from mindset.builds import index as stage
from mindset.builds.plan import rebuild_share, version_being_built
from mindset.installation import Installation


@flow(name="index", flow_run_name=stage_name, persist_result=True, result_serializer="json")
def index(parameters: Stage) -> dict[str, Any]:
    """Write, verify and seal a segment of the new vectors."""
    with building(parameters) as installation:
        return write_segment(installation, parameters)


@task(
    name="write segment",
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=can_help,
)
def write_segment(installation: Installation, parameters: Stage) -> dict[str, Any]:
    kb = installation.knowledge_base(parameters.kb)
    version = version_being_built(installation.catalog, kb.name)
    progress = shown_progress(f"index-{kb.name}", "Vectors written")
    share = rebuild_share(installation.catalog, kb, installation.settings.rebuild_share)
    return asdict(stage.index(installation.catalog, kb, installation.vectors, version, share=share, progress=progress))
