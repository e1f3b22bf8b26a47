"""What was found and answered before, for the same question asked with the same rights of the same release."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from mindset.valkey import Valkey

T = TypeVar("T")

LARGEST = 512_000
"""Bytes of the largest value that is kept."""

# A change of what is kept is a new number: nothing reads what another release of this code has written.
_FORM = 1


class Cache(Generic[T]):
    """Values of one kind, by everything that they depend on. Without Valkey it is empty.

    Nothing is ever taken out: the key holds the release and the epoch of the rights, so what was withdrawn has a key that
    nobody asks for any more. Values hold texts of documents, for as long as they live."""

    def __init__(self, name: str, kind: type[T], valkey: Valkey | None, ttl_s: int) -> None:
        self._name, self._adapter = name, TypeAdapter(kind)
        self._valkey, self._ttl_s = (valkey if ttl_s else None), ttl_s

    def key(self, *parts: Any) -> str:
        """The key of what depends on these, made of JSON types."""
        digest = hashlib.sha256(json.dumps(parts, default=str, ensure_ascii=False).encode()).hexdigest()
        return f"mindset:{self._name}:{_FORM}:{digest}"

    def get(self, key: str) -> T | None:
        """The value, if it is there."""
        raw = self._valkey.ask(lambda client: client.get(key)) if self._valkey else None
        if raw is None:
            return None
        try:
            found: T = self._adapter.validate_json(raw)
        except ValidationError:
            return None  # somebody else's
        return found

    def put(self, key: str, value: T) -> None:
        """Keep a value for a while."""
        if self._valkey and not self._valkey.is_down:
            raw = self._adapter.dump_json(value)
            if len(raw) <= LARGEST:
                self._valkey.ask(lambda client: client.set(key, raw, ex=self._ttl_s))
