"""Parameters of the flows. Prefect's UI builds its forms from these models."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from prefect.runtime import flow_run
from pydantic import BaseModel, ConfigDict, Field


class Connections(BaseModel):
    """Names of blocks to connect with. An empty field uses the worker's settings."""

    model_config = ConfigDict(extra="forbid")

    postgres: str = Field(default="", title="Postgres Catalog block", description="Name of the saved block")
    chroma: str = Field(default="", title="Chroma Store block", description="Name of the saved block")
    redis: str = Field(default="", title="Redis Store block", description="Name of the saved block")
    nim: str = Field(default="", title="NIM Service block", description="Name of the saved block")
    bedrock: str = Field(default="", title="Bedrock Service block", description="Name of the saved block")


class StageParameters(BaseModel):
    """Parameters of every stage."""

    model_config = ConfigDict(extra="forbid")

    kb: str = Field(title="Knowledge base", description="Name of its file in knowledge_bases/", examples=["docs"])
    connections: Connections = Field(default_factory=Connections, title="Connections")
    night: str = Field(
        default="",
        title="Part of a night",
        description="Set by a night, which holds the build lock; leave it empty",
    )
    build: int | None = Field(
        default=None,
        title="Build",
        description="Token of the night's build, with which its stages write; set by a night, leave it empty",
    )


class IngestParameters(StageParameters):
    """Parameters of the ingest stage."""

    allow_deletions: bool = Field(
        default=False,
        title="Allow deletions",
        description="Continue even if more documents were removed than the knowledge base's `max_deletion_ratio` allows",
    )


class EmbedParameters(StageParameters):
    """Parameters of the embed stage."""

    shard: int = Field(default=0, ge=0, title="Shard", description="Which part of the texts, from 0")
    shards: int = Field(
        default=1, ge=1, le=64, title="Shards", description="Number of parts that the texts are split into"
    )


class EvaluateParameters(StageParameters):
    """Parameters of the evaluate stage."""

    version: int | None = Field(
        default=None, ge=1, title="Version", description="Empty: the newest version whose release is due"
    )


class QualityParameters(StageParameters):
    """Parameters of the quality report."""

    since: datetime | None = Field(
        default=None, title="Since", description="Only documents read since then; empty: all documents"
    )


class DeployParameters(StageParameters):
    """Parameters of the deploy stage."""

    evaluation: int | None = Field(
        default=None, ge=1, title="Evaluation", description="Empty: the newest version's last evaluation"
    )


class NightlyParameters(IngestParameters):
    """Parameters of the nightly flow."""


def night_name() -> str:
    """Return a run name such as `guides-night-2026-11-24-0200-9f3c71ab`, which is easy to find in the list of runs."""
    return _run_name("night")


def stage_name() -> str:
    """Return a run name such as `guides-embed-2026-11-24-0203-7ab1c05e`."""
    return _run_name(str(flow_run.flow_name))


def _run_name(kind: str) -> str:
    parameters: Any = flow_run.parameters
    stage = next(iter(parameters.values()))
    kb = stage["kb"] if isinstance(stage, dict) else stage.kb
    return run_name(kb, kind, flow_run.scheduled_start_time or datetime.now(UTC), str(flow_run.id))


def run_name(kb: str, kind: str, started: datetime, run_id: str) -> str:
    """Return a run's name, with the time in UTC, whatever the time zone of its schedule."""
    # The time tells a day's runs apart, and the beginning of the id the runs of a minute, such as up to 64 shards of a stage.
    return f"{kb}-{kind}-{started.astimezone(UTC):%Y-%m-%d-%H%M}-{run_id[:8]}"
