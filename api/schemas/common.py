"""Schemas of search and answers, and those that several routes share."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from mindset.catalog.filters import Where
from mindset.catalog.releases import Release
from mindset.config.knowledge_base import KnowledgeBase
from mindset.generation.answer_stream import Answer
from mindset.generation.citations import Citation
from mindset.retrieval.passage import Passage
from mindset.retrieval.search_request import SearchResult

# Far above the maximum, which the domain checks with a clearer message; fits into the largest body, however it is escaped.
Question = Annotated[
    str, Field(max_length=40_000, description="The question, in words", examples=["How do I roll back?"])
]


KnowledgeBaseName = Annotated[str, Field(max_length=40)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SearchRequest(_Request):
    """A question to search passages for."""

    knowledge_base: str = Field(max_length=40, description="Name of the knowledge base", examples=["docs"])
    question: Question
    limit: int | None = Field(
        default=None, ge=1, le=50, description="Maximum number of chunks; the knowledge base has a default"
    )
    where: Where | None = Field(
        default=None,
        description="Restricts the search to matching documents; at most 4 levels and 32 conditions",
        examples=[{"all": [{"field": "metadata.team", "op": "eq", "value": "search"}]}],
    )


class AnswerRequest(SearchRequest):
    """A question to answer from the documents."""

    conversation: str | None = Field(
        default=None,
        max_length=64,
        description="`conversation` of an earlier answer of yours, so that the question may refer to earlier ones",
    )
    stream: bool = Field(default=False, description="Send server-sent events instead of one JSON document")


class PlaceOut(BaseModel):
    """Where a passage occurs; offsets are in characters of the document's text."""

    uri: str
    title: str
    heading_path: list[str]
    start: int
    end: int


class PassageOut(BaseModel):
    """A passage; adjacent chunks of a document are joined."""

    rank: int
    chunk_ids: list[str]
    text: str
    places: list[PlaceOut]


class SearchResponse(BaseModel):
    """Passages of the version that was searched, best first."""

    knowledge_base: str
    version: int = Field(description="The version that was live when the question was asked")
    passages: list[PassageOut]
    degraded: list[str] = Field(description="Steps that were left out, such as `dense` while Chroma is down")
    cached: bool = Field(description="Whether the result comes from the cache")
    milliseconds: dict[str, float]


class CitationOut(BaseModel):
    """Characters `start` to `end` of the answer are based on this passage."""

    passage: int = Field(description="The passage's rank")
    uri: str
    title: str
    start: int
    end: int


class AnswerResponse(SearchResponse):
    """An answer with its passages."""

    id: str = Field(
        description="Identifies the answer in the answer log and in feedback",
        examples=["0193f4a2b6d05c1e8a7f3b2d4c6e8f90"],
    )
    conversation: str | None = Field(
        description="Send it with the next question; null if conversations are unavailable"
    )
    answer: str
    supported: bool = Field(description="False if the documents do not contain an answer; then nothing is cited")
    citations: list[CitationOut]
    generator: str
    finish_reason: str


class ReleaseOut(BaseModel):
    """A version on a channel; `replaced_at` is null while it is the current one."""

    id: int = Field(examples=[12])
    channel: str
    version: int
    replaces: int | None
    released_by: str
    reason: str
    released_at: datetime
    replaced_at: datetime | None


class KnowledgeBaseOut(BaseModel):
    """A knowledge base and its live release."""

    name: str
    title: str = Field(examples=["Documentation"])
    description: str
    live_version: int | None
    documents: int | None
    chunks: int | None = Field(examples=[1904])
    released_at: datetime | None


def passages_out(passages: tuple[Passage, ...]) -> list[PassageOut]:
    """Convert passages. Scores are omitted, since they would reveal something about documents the caller may not read."""
    return [
        PassageOut(
            rank=passage.rank,
            chunk_ids=list(passage.chunk_ids),
            text=passage.text,
            places=[
                PlaceOut(
                    uri=place.uri,
                    title=place.title,
                    heading_path=list(place.heading_path),
                    start=place.start,
                    end=place.end,
                )
                for place in passage.places
            ],
        )
        for passage in passages
    ]


def search_out(result: SearchResult) -> SearchResponse:
    """Convert a search result."""
    return SearchResponse(
        knowledge_base=result.kb,
        version=result.version,
        passages=passages_out(result.passages),
        degraded=list(result.degraded),
        cached=result.cached,
        milliseconds=result.milliseconds,
    )


def citation_out(citation: Citation, passages: tuple[Passage, ...]) -> CitationOut:
    """Convert a citation and add the cited document."""
    place = passages[citation.passage - 1].place
    return CitationOut(
        passage=citation.passage, uri=place.uri, title=place.title, start=citation.start, end=citation.end
    )


def degraded(result: SearchResult, answer: Answer) -> list[str]:
    """Return the steps that the search and the answer left out."""
    return [*result.degraded, *answer.degraded]


def answer_out(answer_id: str, result: SearchResult, answer: Answer, conversation: str | None = None) -> AnswerResponse:
    """Convert an answer."""
    return AnswerResponse(
        **search_out(result).model_dump() | {"degraded": degraded(result, answer), "cached": answer.cached},
        id=answer_id,
        conversation=conversation,
        answer=answer.text,
        supported=answer.supported,
        citations=[citation_out(citation, result.passages) for citation in answer.citations],
        generator=answer.generator,
        finish_reason=answer.finish_reason,
    )


def release_out(release: Release) -> ReleaseOut:
    """Convert a release."""
    return ReleaseOut.model_validate(release, from_attributes=True)


def knowledge_base_out(
    kb: KnowledgeBase, release: Release | None, documents: int | None, chunks: int | None
) -> KnowledgeBaseOut:
    """Convert a knowledge base."""
    return KnowledgeBaseOut(
        name=kb.name,
        title=kb.title,
        description=kb.description,
        live_version=release.version if release else None,
        documents=documents,
        chunks=chunks,
        released_at=release.released_at if release else None,
    )
