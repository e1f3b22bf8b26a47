"""The embed stage as a flow."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from prefect import flow, task

from flows.parameters import EmbedParameters, stage_name
from flows.runtime import DELAYS_S, RETRIES, building, is_transient, report_progress
from mindset.application import Installation
from mindset.catalog.build import Build
from mindset.embedding.registry import open_embedder
from mindset.pipeline import embed as stage
from mindset.pipeline.plan import rebuild_duty_cycle, version_being_built


@flow(name="embed", flow_run_name=stage_name, persist_result=True, result_serializer="json")
def embed(parameters: EmbedParameters) -> dict[str, Any]:
    """Embed this shard of the new texts of the version that is being built."""
    with building(parameters) as (installation, build):
        return embed_texts(installation, build, parameters)


@task(
    name="embed texts",
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
)
def embed_texts(installation: Installation, build: Build, parameters: EmbedParameters) -> dict[str, Any]:
    kb = installation.knowledge_base(parameters.kb)
    version = version_being_built(installation.catalog, kb.name)
    progress = report_progress(f"embed-{kb.name}-{parameters.shard}", "Texts embedded")
    duty_cycle = rebuild_duty_cycle(installation.catalog, kb, installation.settings.rebuild_duty_cycle)
    embedder = open_embedder(kb.embedding, installation.settings)
    try:
        report = stage.embed(
            build, kb, embedder, version,
            shard=parameters.shard, shards=parameters.shards, duty_cycle=duty_cycle, progress=progress,
        )  # fmt: skip
    finally:
        embedder.close()
    # Not every document: the result is stored, and the night reads them from the catalog.
    return {**asdict(report), "quarantined": len(report.quarantined)}
