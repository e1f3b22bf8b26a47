"""Schemas of knowledge bases, versions and releases."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Body, Path
from pydantic import BaseModel, ConfigDict, Field

Number = Annotated[int, Path(ge=1, lt=2**31, description="Number of the version", examples=[1])]


class EvaluationOut(BaseModel):
    """The evaluation of a version with its golden set."""

    questions: int
    passed: bool
    reasons: list[str] = Field(description="Why the gate rejected it")
    baseline_version: int | None = Field(description="The version that was live at that time")
    metrics: dict[str, dict[str, float]] = Field(
        description="Metrics by slice; `all` contains every answerable question"
    )


class VersionOut(BaseModel):
    """The result of a build."""

    number: int
    state: Literal["building", "ready", "rejected", "retired"]
    model: str = Field(description="The embedding model", examples=["wordllama:wordllama:256"])
    documents: int | None
    chunks: int | None = Field(examples=[1904])
    created_at: datetime
    ready_at: datetime | None


class VersionDetailOut(VersionOut):
    """A version with its evaluation."""

    evaluation: EvaluationOut | None


class DifferenceOut(BaseModel):
    """The differences between two versions; lists only documents that you may read."""

    base_version: int | None = Field(description="The version compared with; null: an empty version", examples=[6])
    version: int
    documents_added: list[str]
    documents_changed: list[str]
    documents_removed: list[str]
    chunks_added: int
    chunks_removed: int


class QuarantinedOut(BaseModel):
    """A quarantined document."""

    uri: str
    reason: str = Field(examples=["The PDF is encrypted. Save it without a password."])


class _ReleaseRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: str = Field(
        default="by the API", max_length=500, description="Stored with the release", examples=["wrong prices"]
    )


class Promotion(_ReleaseRequest):
    """Make a version live."""

    action: Literal["promote"] = Field(examples=["promote"])
    version: int = Field(ge=1, lt=2**31)


class Rollback(_ReleaseRequest):
    """Make the previous live version live again."""

    action: Literal["roll_back"] = Field(examples=["roll_back"])


ReleaseRequest = Annotated[
    Promotion | Rollback,
    Body(
        discriminator="action",
        openapi_examples={
            "promote": {"value": {"action": "promote", "version": 7, "reason": "prices are right again"}},
            "roll back": {"value": {"action": "roll_back", "reason": "wrong prices"}},
        },
    ),
]


class DecisionOut(BaseModel):
    """The result of a release request."""

    version: int = Field(description="The version that is live now")
    replaces: int | None
    reasons: list[str]
