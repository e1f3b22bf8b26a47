"""The vector index."""

from __future__ import annotations

from typing import Any, ClassVar

from prefect.blocks.core import Block
from pydantic import Field

from mindset.vector_index.chroma import ChromaIndex


class ChromaStore(Block):
    """A Chroma server, where segments of vectors are searched."""

    _block_type_name: ClassVar[str | None] = "Chroma Store"
    _block_type_slug: ClassVar[str | None] = "chroma-store"
    _logo_url: ClassVar[Any] = "https://www.trychroma.com/favicon.ico"
    _description: ClassVar[str | None] = (
        "A Chroma server: vectors and ids only, which Postgres can rebuild at any time."
    )

    url: str = Field(description="http://host:8000")

    def open(self) -> ChromaIndex:
        """The index; connects at its first use."""
        return ChromaIndex(self.url)

    def test_connection(self) -> str:
        """How many collections the server holds. Raises ServiceUnavailable."""
        index = self.open()
        index.ping()
        return f"{len(index.collections())} collections"

    def settings(self) -> dict[str, Any]:
        """The settings that this block replaces."""
        return {"chroma_url": self.url}
