"""Redis or Valkey."""

from __future__ import annotations

from typing import Any, ClassVar

import redis
from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from mindset.errors import ServiceUnavailable


class RedisStore(Block):
    """Redis or Valkey, for what may be lost: limits and caches."""

    _block_type_name: ClassVar[str | None] = "Redis Store"
    _block_type_slug: ClassVar[str | None] = "redis-store"
    _logo_url: ClassVar[Any] = "https://cdn.simpleicons.org/redis"
    _description: ClassVar[str | None] = "A Redis or Valkey server. Nothing in it is needed to answer."

    url: SecretStr = Field(description="redis://host:6379/0")

    def open(self) -> redis.Redis:
        """A client; close it when done."""
        return redis.Redis.from_url(self.url.get_secret_value(), socket_timeout=5)

    def test_connection(self) -> str:
        """The server's version. Raises ServiceUnavailable."""
        with self.open() as client:
            try:
                found = client.info("server")
            except redis.RedisError as lost:
                raise ServiceUnavailable(
                    f"Redis does not answer: {lost}. Start it, or correct the block's URL."
                ) from lost
        assert isinstance(found, dict)
        return f"{found.get('server_name', 'redis')} {found.get('valkey_version') or found['redis_version']}"

    def settings(self) -> dict[str, Any]:
        """The settings that this block replaces."""
        return {"redis_url": self.url}
