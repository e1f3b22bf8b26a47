"""The block of the catalog's database."""

from __future__ import annotations

from typing import Any, ClassVar

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from mindset.catalog.pool import Catalog
from mindset.catalog.transactions import scalar


class PostgresCatalog(Block):
    """Postgres with documents, chunks, embeddings, versions and releases."""

    _block_type_name: ClassVar[str | None] = "Postgres Catalog"
    _block_type_slug: ClassVar[str | None] = "postgres-catalog"
    _logo_url: ClassVar[Any] = "https://cdn.simpleicons.org/postgresql"
    _description: ClassVar[str | None] = "The database of Product Mindset, the source of truth of every knowledge base."

    url: SecretStr = Field(description="postgresql://user:password@host:5432/database")
    pool_size: int = Field(default=8, ge=4, le=100, description="Maximum number of connections per flow run")

    def open(self) -> Catalog:
        """Return the catalog; use it in a `with` statement."""
        return Catalog(self.url.get_secret_value(), self.pool_size)

    def test_connection(self) -> str:
        """Return the version of Postgres. Raises ServiceUnavailable."""
        with self.open() as catalog, catalog.reading() as connection:
            return f"PostgreSQL {scalar(connection, 'SHOW server_version')}"

    def settings(self) -> dict[str, Any]:
        """Return the settings that this block overrides."""
        return {"postgres_url": self.url, "postgres_pool_size": self.pool_size}
