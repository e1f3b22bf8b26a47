"""What tools take and give; clients read the descriptions of the fields."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from api.models import KnowledgeBaseOut, ReleaseOut


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Nothing(_Arguments):
    """A tool without arguments."""


class OfKnowledgeBase(_Arguments):
    """What all tools about one knowledge base take."""

    knowledge_base: str = Field(description="Name of the knowledge base; `list_knowledge_bases` tells them")


class Question(OfKnowledgeBase):
    """A question to a knowledge base."""

    question: str = Field(description="What is asked, in words; at most 4,000 characters")
    limit: int | None = Field(default=None, ge=1, le=50, description="Most passages; the knowledge base has a default")
    where: dict[str, Any] | None = Field(
        default=None,
        description="Of which documents: a condition such as "
        '{"field": "metadata.team", "op": "eq", "value": "search"}, or several in `all`, `any`, `not`',
    )


class DocumentAt(OfKnowledgeBase):
    """One document, or a part of it."""

    uri: str = Field(description="The document's URI, as passages and citations show it")
    start: int = Field(default=0, ge=0, description="Character of the text to begin with")


class TwoVersions(OfKnowledgeBase):
    """Two versions to compare."""

    old: int | None = Field(default=None, ge=1, description="The version compared with; unset: the live one")
    new: int = Field(ge=1, description="The version that is compared")


class _Confirmed(OfKnowledgeBase):
    confirm: bool = Field(
        default=False, description="Whether to do it. Without, only what would be done is told: ask the user first"
    )


class NightToStart(_Confirmed):
    """A night to start."""

    allow_loss: bool = Field(
        default=False, description="Go on even when most documents are gone from their source; only if the user says so"
    )


class NightOf(_Arguments):
    """A night that was started."""

    id: str = Field(pattern=r"^[0-9a-fA-F-]{36}$", description="The night's id, as `start_night` gives it")


class VersionToPromote(_Confirmed):
    """A version to make live."""

    version: int = Field(ge=1, description="Number of a finished version; `list_releases` tells them")
    reason: str = Field(min_length=1, max_length=500, description="Why; it is kept with the release")


class WayBack(_Confirmed):
    """A way back from what is live."""

    reason: str = Field(min_length=1, max_length=500, description="Why; it is kept with the release")


class KnowledgeBases(BaseModel):
    """All that the caller may know of."""

    knowledge_bases: list[KnowledgeBaseOut]


class DocumentOut(BaseModel):
    """A document as the live version shows it."""

    uri: str
    title: str
    media_type: str
    version: int
    start: int
    end: int
    length: int = Field(description="Characters of the whole text; call again with `start` for what is after `end`")
    text: str


class VersionOut(BaseModel):
    """What a build made."""

    number: int
    state: str
    documents: int | None
    chunks: int | None
    ready_at: datetime | None


class History(BaseModel):
    """What was and is live, and what could be."""

    releases: list[ReleaseOut] = Field(description="The newest first; the one without an end is live")
    versions: list[VersionOut] = Field(description="The newest first")


class SegmentOut(BaseModel):
    """A part of the vector index."""

    collection: str
    expected: int = Field(description="Vectors that Postgres says it holds")
    found: int | None = Field(description="Vectors that it holds; null: it could not be asked")


class IndexHealth(BaseModel):
    """Whether the index of the live version is whole."""

    knowledge_base: str
    version: int
    healthy: bool
    findings: list[str] = Field(description="What is wrong; empty when all is well")
    segments: list[SegmentOut]
    quarantined: int = Field(description="Documents set aside because they could not be used")


class Comparison(BaseModel):
    """What one version shows and another does not; documents that the caller may not read are only counted."""

    old: int | None
    new: int
    documents_added: int
    documents_changed: int
    documents_removed: int
    chunks_added: int
    chunks_removed: int
    uris_added: list[str]
    uris_changed: list[str]
    uris_removed: list[str]


class Change(BaseModel):
    """What was done, or, without `confirm`, what would be."""

    done: bool
    what: str
    version: int | None = Field(default=None, description="The version that is live then")
    replaces: int | None = Field(default=None, description="The version that was live before")
    night: str | None = Field(default=None, description="Id of the night, for `get_night`")


class NightOut(BaseModel):
    """A night as it is now."""

    id: str
    name: str
    state: str
    message: str
    ended: bool
    stages: dict[str, str] = Field(description="State of each stage that has begun")
    report: str | None = Field(
        description="The report of a night that is over, as Markdown, for callers with the scope `admin`"
    )
