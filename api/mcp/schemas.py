"""Arguments and results of the MCP tools. Clients show the field descriptions to models."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from api.schemas.common import KnowledgeBaseOut, ReleaseOut
from api.schemas.knowledge_bases import VersionOut


def _whole(value: Any) -> Any:
    """Return a whole number that a model wrote as `2.0`, which JSON Schema accepts as an integer, or as `"2"`."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        return int(value)
    return value


Whole = Annotated[int, BeforeValidator(_whole)]


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NoArguments(_Arguments):
    """A tool without arguments."""


class KnowledgeBaseArguments(_Arguments):
    """Arguments of every tool that works on one knowledge base."""

    knowledge_base: str = Field(description="Name of the knowledge base, as `list_knowledge_bases` returns it")


class QuestionArguments(KnowledgeBaseArguments):
    """A question to a knowledge base."""

    question: str = Field(description="The question in words; at most 4,000 characters")
    limit: Whole | None = Field(default=None, ge=1, le=50, description="Maximum number of passages; has a default")
    where: dict[str, Any] | None = Field(
        default=None,
        description="Restricts the search to documents that match: a condition such as "
        '{"field": "metadata.team", "op": "eq", "value": "search"}, or several combined by `all`, `any` and `not`',
    )


class DocumentArguments(KnowledgeBaseArguments):
    """A document, or a part of it."""

    uri: str = Field(description="The document's URI, as passages and citations show it")
    start: Whole = Field(default=0, ge=0, description="Offset in the text, in characters")


class CompareVersionsArguments(KnowledgeBaseArguments):
    """Two versions to compare."""

    old: Whole | None = Field(default=None, ge=1, description="The version to compare with; by default the live one")
    new: Whole = Field(ge=1, description="The version to compare")


class ConfirmedArguments(KnowledgeBaseArguments):
    """An action that is previewed first."""

    confirmation: str | None = Field(
        default=None,
        max_length=1_000,
        description="The `confirmation` of the preview, to perform what it described. Without it, the tool only previews the "
        "action: ask the user first, then call again with the same arguments and this one",
    )


class StartNightArguments(ConfirmedArguments):
    """A night to start."""

    allow_deletions: bool = Field(
        default=False,
        description="Continue even if most documents were removed from their source; only if the user agrees",
    )


class GetNightArguments(_Arguments):
    """A night that was started."""

    id: str = Field(pattern=r"^[0-9a-fA-F-]{36}$", description="The night's id, as `start_night` returns it")


class PromoteArguments(ConfirmedArguments):
    """A version to make live."""

    version: Whole = Field(ge=1, description="Number of a finished version, as `list_releases` returns it")
    reason: str = Field(min_length=1, max_length=500, description="The reason; it is stored with the release")


class RollBackArguments(ConfirmedArguments):
    """A rollback of the live release."""

    reason: str = Field(min_length=1, max_length=500, description="The reason; it is stored with the release")


class KnowledgeBases(BaseModel):
    """The knowledge bases that the caller may see."""

    knowledge_bases: list[KnowledgeBaseOut]


class DocumentText(BaseModel):
    """A document of the live version, or a part of it."""

    uri: str
    title: str
    media_type: str
    version: int
    start: int
    end: int
    length: int = Field(
        description="Length of the whole text in characters; call again with `start` to read what follows `end`"
    )
    text: str


class ReleaseHistory(BaseModel):
    """Releases and versions of a knowledge base."""

    releases: list[ReleaseOut] = Field(description="Newest first; the one without `replaced_at` is live")
    versions: list[VersionOut] = Field(description="Newest first")


class SegmentOut(BaseModel):
    """A segment of the vector index."""

    collection: str
    expected: int = Field(description="Number of vectors according to Postgres")
    found: int | None = Field(description="Number of vectors in Chroma; null if Chroma did not respond")


class IndexHealth(BaseModel):
    """Whether the index of the live version is complete."""

    knowledge_base: str
    version: int
    healthy: bool
    findings: list[str] = Field(description="Problems; empty if there are none")
    segments: list[SegmentOut]
    quarantined: int = Field(description="Number of quarantined documents")


class Comparison(BaseModel):
    """The differences between two versions. Documents that the caller may not read are counted but not listed."""

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


class ChangeResult(BaseModel):
    """What was done or, without `confirmation`, what would be done."""

    done: bool
    what: str
    version: int | None = Field(default=None, description="The live version afterwards")
    replaces: int | None = Field(default=None, description="The live version before")
    night: str | None = Field(default=None, description="Id of the night, for `get_night`")
    confirmation: str | None = Field(
        default=None, description="Of a preview: call again with it once the user agrees, within 15 minutes"
    )
    replayed: bool = Field(default=False, description="Whether an earlier call with this confirmation did it")


class NightStatus(BaseModel):
    """The current state of a night."""

    id: str
    name: str
    state: str
    message: str
    ended: bool
    stages: dict[str, str] = Field(description="State of each stage that has started")
    report: str | None = Field(
        description="The report of a finished night in Markdown, for callers with the scope `admin`"
    )
