"""What the API takes and gives."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from mindset.catalog.filters import Where
from mindset.catalog.releases import Release
from mindset.generation.answers import Answer
from mindset.generation.citations import Citation
from mindset.knowledge_base import KnowledgeBase
from mindset.retrieval.passage import Passage
from mindset.retrieval.search import Found

# Far above the longest question, which the domain refuses with a reason; within the largest body, however it is escaped.
Question = Annotated[
    str, Field(max_length=40_000, description="What is asked, in words", examples=["How do I roll back?"])
]


KnowledgeBaseName = Annotated[str, Field(max_length=40)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SearchRequest(_Request):
    """Which passages answer a question."""

    knowledge_base: str = Field(max_length=40, description="Name of the knowledge base", examples=["docs"])
    question: Question
    limit: int | None = Field(
        default=None, ge=1, le=50, description="Most chunks returned; the knowledge base has a default"
    )
    where: Where | None = Field(
        default=None,
        description="Which documents; at most 4 levels and 32 conditions",
        examples=[{"all": [{"field": "metadata.team", "op": "eq", "value": "search"}]}],
    )


class AnswerRequest(SearchRequest):
    """What the documents answer to a question."""

    conversation: str | None = Field(
        default=None,
        max_length=64,
        description="`conversation` of an earlier answer of yours: then the question may lean on what was asked before",
    )
    stream: bool = Field(default=False, description="Send server-sent events instead of one JSON document")


class PlaceOut(BaseModel):
    """Where a passage stands; offsets count characters of the document's text."""

    uri: str
    title: str
    heading_path: list[str]
    start: int
    end: int


class PassageOut(BaseModel):
    """A passage, the best first; neighbouring chunks of a document are joined."""

    rank: int
    chunk_ids: list[str]
    text: str
    places: list[PlaceOut]


class SearchResponse(BaseModel):
    """Passages, and where they were found."""

    knowledge_base: str
    version: int = Field(description="The version that was live when the question was asked")
    passages: list[PassageOut]
    degraded: list[str] = Field(description="Steps that had to be left out, such as `dense` while Chroma is down")
    cached: bool = Field(description="Whether it was found for the same question before")
    milliseconds: dict[str, float]


class CitationOut(BaseModel):
    """Characters `start` to `end` of the answer stand on this passage."""

    passage: int = Field(description="Its rank among the passages")
    uri: str
    title: str
    start: int
    end: int


class AnswerResponse(SearchResponse):
    """An answer with its passages."""

    id: str = Field(
        description="Names it in the answer log and in feedback", examples=["0193f4a2b6d05c1e8a7f3b2d4c6e8f90"]
    )
    conversation: str | None = Field(description="Send it with the next question; null where it cannot be remembered")
    answer: str
    supported: bool = Field(description="False: the documents do not say, and nothing is cited")
    citations: list[CitationOut]
    generator: str
    finish_reason: str


class ReleaseOut(BaseModel):
    """A version on a channel, for a while."""

    id: int = Field(examples=[12])
    channel: str
    version: int
    replaces: int | None
    released_by: str
    reason: str
    since: datetime
    until: datetime | None


class KnowledgeBaseOut(BaseModel):
    """A knowledge base, and what is live of it."""

    name: str
    title: str = Field(examples=["Documentation"])
    description: str
    live_version: int | None
    documents: int | None
    chunks: int | None = Field(examples=[1904])
    released_at: datetime | None


def passages_out(passages: tuple[Passage, ...]) -> list[PassageOut]:
    """Passages as the API shows them; scores are kept back, since they tell about documents that are not shown."""
    return [
        PassageOut(
            rank=each.rank,
            chunk_ids=list(each.chunk_ids),
            text=each.text,
            places=[
                PlaceOut(
                    uri=place.uri,
                    title=place.title,
                    heading_path=list(place.heading_path),
                    start=place.start,
                    end=place.end,
                )
                for place in each.places
            ],
        )
        for each in passages
    ]


def search_out(found: Found) -> SearchResponse:
    """A search as the API shows it."""
    return SearchResponse(
        knowledge_base=found.kb,
        version=found.version,
        passages=passages_out(found.passages),
        degraded=list(found.degraded),
        cached=found.cached,
        milliseconds=found.milliseconds,
    )


def citation_out(citation: Citation, passages: tuple[Passage, ...]) -> CitationOut:
    """A citation with the document it leads to."""
    place = passages[citation.passage - 1].place
    return CitationOut(
        passage=citation.passage, uri=place.uri, title=place.title, start=citation.start, end=citation.end
    )


def degraded(found: Found, answer: Answer) -> list[str]:
    """What an answer had to do without."""
    return [*found.degraded, *answer.degraded]


def answer_out(number: str, found: Found, answer: Answer, conversation: str | None = None) -> AnswerResponse:
    """An answer as the API shows it."""
    return AnswerResponse(
        **search_out(found).model_dump() | {"degraded": degraded(found, answer), "cached": answer.cached},
        id=number,
        conversation=conversation,
        answer=answer.text,
        supported=answer.supported,
        citations=[citation_out(each, found.passages) for each in answer.citations],
        generator=answer.generator,
        finish_reason=answer.finish_reason,
    )


def release_out(release: Release) -> ReleaseOut:
    """A release as the API shows it."""
    return ReleaseOut.model_validate(release, from_attributes=True)


def knowledge_base_out(
    kb: KnowledgeBase, release: Release | None, documents: int | None, chunks: int | None
) -> KnowledgeBaseOut:
    """A knowledge base as the API shows it."""
    return KnowledgeBaseOut(
        name=kb.name,
        title=kb.title,
        description=kb.description,
        live_version=release.version if release else None,
        documents=documents,
        chunks=chunks,
        released_at=release.since if release else None,
    )
