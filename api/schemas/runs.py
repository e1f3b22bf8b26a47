"""Schemas of flow runs."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

EXAMPLE_ID = "4f0f5c9e-6c1d-4b7e-9d0a-2f6d7c1b8e35"


class NightRequest(BaseModel):
    """Options of a night."""

    model_config = ConfigDict(extra="forbid")

    allow_deletions: bool = Field(
        default=False, description="Continue even if most documents were removed from their source"
    )


class RunOut(BaseModel):
    """A flow run as Prefect reports it."""

    id: str = Field(examples=[EXAMPLE_ID])
    name: str = Field(examples=["docs-night-2026-11-25-0200-9f3c71ab"])
    state: str = Field(description="Prefect's state type", examples=["RUNNING"])
    message: str = Field(description="Prefect's message about the state", examples=[""])
    started_at: str | None
    ended_at: str | None


class StageOut(RunOut):
    """A stage of a night."""

    percent: float | None = Field(description="Progress, if the stage reports it")


class NightOut(RunOut):
    """A night with its stages and, once it has ended, its report in Markdown."""

    knowledge_base: str
    stages: list[StageOut]
    report: str | None = Field(description="For callers with the scope `admin`, once it has ended")
