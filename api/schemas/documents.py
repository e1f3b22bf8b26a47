"""Schemas of documents."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from api.schemas.common import PassageOut


class DocumentOut(BaseModel):
    """A document in the live release."""

    uri: str = Field(examples=["operating/rollback.md"])
    title: str
    media_type: str = Field(examples=["text/markdown"])
    content_hash: str = Field(description="Identifies this revision of the document")
    metadata: dict[str, Any] = Field(description="The front matter")


class ChunkPlaceOut(BaseModel):
    """A chunk of a document; offsets are in characters of the document's text."""

    chunk_id: str
    heading_path: list[str]
    start: int
    end: int


class WholeDocumentOut(DocumentOut):
    """A document with its text and the positions of its chunks."""

    version: int
    text: str
    chunks: list[ChunkPlaceOut]


class FoundPassageOut(PassageOut):
    """A passage by its id."""

    knowledge_base: str
    version: int
