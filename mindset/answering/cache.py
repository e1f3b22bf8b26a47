"""A cache of search results and answers, for the same question with the same rights on the same release."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from mindset.redis import RedisClient

T = TypeVar("T")

MAX_VALUE_BYTES = 512_000
"""Larger values are not cached."""

# Increase it with every change of the cached classes, so that no process reads what another release has written.
_FORMAT = 3


class Cache(Generic[T]):
    """Values of one type, keyed by everything that they depend on. Without Redis the cache is always empty.

    Nothing is ever invalidated: the key contains the release and the epoch of rights, so what was withdrawn has a key that
    is never looked up again. Until they expire, values contain texts of documents."""

    def __init__(self, name: str, type_: type[T], redis: RedisClient | None, ttl_s: int) -> None:
        self._name, self._adapter = name, TypeAdapter(type_)
        self._redis, self._ttl_s = (redis if ttl_s else None), ttl_s

    def key(self, *parts: Any) -> str:
        """Return the key for a value that depends on these parts, made of JSON types."""
        digest = hashlib.sha256(json.dumps(parts, default=str, ensure_ascii=False).encode()).hexdigest()
        return f"{self._name}:{_FORMAT}:{digest}"

    def get(self, key: str) -> T | None:
        """Return the value if it is cached."""
        raw = self._redis.execute(lambda client, full_key: client.get(full_key), key) if self._redis else None
        if raw is None:
            return None
        try:
            value: T = self._adapter.validate_json(raw)
        except ValidationError:
            return None  # not written by this code
        return value

    def put(self, key: str, value: T) -> None:
        """Cache a value until it expires."""
        if self._redis and not self._redis.is_down:
            raw = self._adapter.dump_json(value)
            if len(raw) <= MAX_VALUE_BYTES:
                self._redis.execute(lambda client, full_key: client.set(full_key, raw, ex=self._ttl_s), key)
