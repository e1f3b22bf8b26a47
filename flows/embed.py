"""Embed: new texts get their vectors."""

from __future__ import annotations

from prefect import flow, task

from flows.parameters import Embed, stage_name
from flows.stage import DELAYS_S, RETRIES, building, can_help, shown_progress
from mindset.builds import embed as stage
from mindset.builds.plan import rebuild_share, version_being_built
from mindset.embedding.registry import open_embedder
from mindset.installation import Installation


@flow(name="embed", flow_run_name=stage_name, persist_result=True, result_serializer="json")
def embed(parameters: Embed) -> int:
    """Embed this shard of the new texts of the version that is being built; returns how many there were."""
    with building(parameters) as installation:
        return embed_texts(installation, parameters)


@task(
    name="embed texts", persist_result=False, retries=RETRIES, retry_delay_seconds=DELAYS_S, retry_condition_fn=can_help
)
def embed_texts(installation: Installation, parameters: Embed) -> int:
    kb = installation.knowledge_base(parameters.kb)
    version = version_being_built(installation.catalog, kb.name)
    progress = shown_progress(f"embed-{kb.name}-{parameters.shard}", "Texts embedded")
    share = rebuild_share(installation.catalog, kb, installation.settings.rebuild_share)
    embedder = open_embedder(kb.embedding, installation.settings)
    try:
        return stage.embed(
            installation.catalog, kb, embedder, version,
            shard=parameters.shard, shards=parameters.shards, share=share, progress=progress,
        )  # fmt: skip
    finally:
        embedder.close()
