"""Cursor pagination. A cursor is the key of the last item, so nothing is skipped while rows are added or removed."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Annotated, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel, Field

from mindset.errors import RequestRejected

T = TypeVar("T")

Limit = Annotated[int, Query(ge=1, le=200, description="Maximum number of items per page")]
Cursor = Annotated[
    str | None, Query(max_length=4_000, description="`next` of the previous page; by default the first page")
]


class Page(BaseModel, Generic[T]):
    """A page of items."""

    items: list[T]
    next: str | None = Field(description="Cursor of the next page; null on the last page")


def cursor_after(key: str | int) -> str:
    """Return the cursor for the items after the one with this key."""
    return base64.urlsafe_b64encode(json.dumps(key).encode()).rstrip(b"=").decode()


def text_key(cursor: str | None) -> str:
    """Return the text key of a cursor, or '' for the first page. Raises RequestRejected."""
    key = _key(cursor) if cursor else ""
    if not isinstance(key, str) or "\0" in key or any(0xD800 <= ord(character) < 0xE000 for character in key):
        raise _invalid_cursor()
    return key


def number_key(cursor: str | None) -> int | None:
    """Return the numeric key of a cursor, or None for the first page. Raises RequestRejected."""
    if cursor is None:
        return None
    key = _key(cursor)
    if not isinstance(key, int) or isinstance(key, bool) or not 0 <= key < 2**31:
        raise _invalid_cursor()
    return key


def _key(cursor: str) -> object:
    try:
        key: object = json.loads(base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        raise _invalid_cursor() from None
    return key


def _invalid_cursor() -> RequestRejected:
    return RequestRejected("Invalid cursor. Use `next` of a page, or leave it out for the first page.")
