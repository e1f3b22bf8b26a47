"""The block of the vector index."""

from __future__ import annotations

from typing import Any, ClassVar

from prefect.blocks.core import Block
from pydantic import Field

from mindset.vector_index.chroma import ChromaIndex


class ChromaStore(Block):
    """A Chroma server, which stores the segments."""

    _block_type_name: ClassVar[str | None] = "Chroma Store"
    _block_type_slug: ClassVar[str | None] = "chroma-store"
    _logo_url: ClassVar[Any] = "https://www.trychroma.com/favicon.ico"
    _description: ClassVar[str | None] = (
        "A Chroma server with vectors and ids. It can be rebuilt from Postgres at any time."
    )

    url: str = Field(description="http://host:8000")

    def open(self) -> ChromaIndex:
        """Open the index; it connects at its first use."""
        return ChromaIndex(self.url)

    def test_connection(self) -> str:
        """Return the number of collections. Raises ServiceUnavailable."""
        index = self.open()
        index.ping()
        return f"{len(index.collections())} collections"

    def settings(self) -> dict[str, Any]:
        """Return the settings that this block overrides."""
        return {"chroma_url": self.url}
