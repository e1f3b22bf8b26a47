"""Schemas of feedback."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class FeedbackRequest(BaseModel):
    """A rating of an answer."""

    model_config = ConfigDict(extra="forbid")

    answer: str = Field(max_length=64, description="The answer's `id`", examples=["0193f4a2b6d05c1e8a7f3b2d4c6e8f90"])
    rating: Literal["good", "bad"]
    comment: Annotated[str, Field(max_length=2_000, examples=["It names the old command."])] | None = None


class FeedbackOut(FeedbackRequest):
    """The rating as it was stored."""

    knowledge_base: str
