"""Maintain: retire old versions, drop what nobody needs, rebuild what is damaged."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact

from flows.parameters import Stage, stage_name
from flows.stage import DELAYS_S, RETRIES, building, can_help, shown_progress
from mindset import maintenance
from mindset.installation import Installation


@flow(name="maintain", flow_run_name=stage_name, persist_result=True, result_serializer="json")
def maintain(parameters: Stage) -> dict[str, Any]:
    """Bring a knowledge base's versions and segments in order."""
    with building(parameters) as installation:
        done = tidy(installation, parameters)
    create_markdown_artifact(
        f"# Maintenance of {parameters.kb}\n\n"
        f"- versions retired: {', '.join(map(str, done['retired'])) or 'none'}\n"
        f"- collections dropped: {done['dropped']}\n"
        f"- segments compared with Postgres: {done['checked']}\n"
        f"- segments rebuilt: {', '.join(done['rebuilt']) or 'none'}\n",
        key=f"maintenance-{parameters.kb}",
    )
    return done


@task(name="tidy", persist_result=False, retries=RETRIES, retry_delay_seconds=DELAYS_S, retry_condition_fn=can_help)
def tidy(installation: Installation, parameters: Stage) -> dict[str, Any]:
    kb = installation.knowledge_base(parameters.kb)
    progress = shown_progress(f"maintain-{kb.name}", "Segments checked")
    return asdict(maintenance.maintain(installation.catalog, kb, installation.vectors, progress=progress))
