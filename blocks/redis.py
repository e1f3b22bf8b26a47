"""The block of Redis or Valkey."""

from __future__ import annotations

from typing import Any, ClassVar

import redis
from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from mindset.errors import ServiceUnavailable


class RedisStore(Block):
    """Redis or Valkey. A night notifies API processes of its release through it."""

    _block_type_name: ClassVar[str | None] = "Redis Store"
    _block_type_slug: ClassVar[str | None] = "redis-store"
    _logo_url: ClassVar[Any] = "https://cdn.simpleicons.org/redis"
    _description: ClassVar[str | None] = "A Redis or Valkey server. Answering does not depend on it."

    url: SecretStr = Field(description="redis://host:6379/0")

    def open(self) -> redis.Redis:
        """Open a client; close it after use."""
        return redis.Redis.from_url(self.url.get_secret_value(), socket_timeout=5)

    def test_connection(self) -> str:
        """Return the server's version. Raises ServiceUnavailable."""
        with self.open() as client:
            try:
                info = client.info("server")
            except redis.RedisError as lost:
                raise ServiceUnavailable(
                    f"Redis does not answer: {lost}. Start it, or correct the block's URL."
                ) from lost
        assert isinstance(info, dict)
        return f"{info.get('server_name', 'redis')} {info.get('valkey_version') or info['redis_version']}"

    def settings(self) -> dict[str, Any]:
        """Return the settings that this block overrides."""
        return {"redis_url": self.url}
