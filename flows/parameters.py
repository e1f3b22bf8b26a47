"""What a flow is asked for; Prefect's UI draws its forms from these models."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from prefect.runtime import flow_run
from pydantic import BaseModel, ConfigDict, Field


class Connections(BaseModel):
    """Names of blocks to connect with; what is left empty is taken from the settings of the worker."""

    model_config = ConfigDict(extra="forbid")

    postgres: str = Field(default="", title="Postgres Catalog block", description="Name of the saved block")
    chroma: str = Field(default="", title="Chroma Store block", description="Name of the saved block")
    nim: str = Field(default="", title="NIM Service block", description="Name of the saved block")
    bedrock: str = Field(default="", title="Bedrock Service block", description="Name of the saved block")


class Stage(BaseModel):
    """What every stage needs."""

    model_config = ConfigDict(extra="forbid")

    kb: str = Field(
        title="Knowledge base", description="Its name: that of its file in knowledge_bases/", examples=["docs"]
    )
    connections: Connections = Field(default_factory=Connections, title="Connections")
    night: str = Field(
        default="",
        title="Part of a night",
        description="Set by the night, which holds the build lock; leave it empty",
    )


class Ingest(Stage):
    """Read what changed at the sources."""

    allow_loss: bool = Field(
        default=False,
        title="Allow loss",
        description="Go on even when more documents are gone than the knowledge base's `largest_loss` allows",
    )


class Embed(Stage):
    """Embed the new texts of the version that is being built."""

    shard: int = Field(default=0, ge=0, title="Shard", description="Which share of the texts, from 0")
    shards: int = Field(default=1, ge=1, le=64, title="Shards", description="Into how many shares the texts are split")


class Evaluate(Stage):
    """Judge a version by the golden set."""

    version: int | None = Field(
        default=None, ge=1, title="Version", description="Empty: the newest that waits for release"
    )


class Quality(Stage):
    """Check what documents are like."""

    since: datetime | None = Field(
        default=None, title="Since", description="Only documents whose text was read since then; empty: all of them"
    )


class Deploy(Stage):
    """Release what an evaluation let through."""

    evaluation: int | None = Field(
        default=None, ge=1, title="Evaluation", description="Empty: the newest version's last one"
    )


class Night(Ingest):
    """Everything, in order: what changed, from source to release."""


def night_name() -> str:
    """Such as `guides-night-2026-11-24`: what a person looks for in the list of runs."""
    return _name("night")


def stage_name() -> str:
    """Such as `guides-embed-2026-11-24`."""
    return _name(str(flow_run.flow_name))


def _name(what: str) -> str:
    parameters: Any = flow_run.parameters
    stage = next(iter(parameters.values()))
    kb = stage["kb"] if isinstance(stage, dict) else stage.kb
    started = flow_run.scheduled_start_time
    return f"{kb}-{what}-{started.date() if started else datetime.now(UTC).date()}"
