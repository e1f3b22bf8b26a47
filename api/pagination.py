"""Long lists, a page at a time: a cursor is where the last page ended, so nothing is skipped while rows come and go."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Annotated, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel, Field

from mindset.errors import RequestRejected

T = TypeVar("T")

Limit = Annotated[int, Query(ge=1, le=200, description="Most items of a page")]
Cursor = Annotated[
    str | None, Query(max_length=4_000, description="`next` of the page before; left out: the first page")
]


class Page(BaseModel, Generic[T]):
    """Some items, and where the others are."""

    items: list[T]
    next: str | None = Field(description="Cursor of the next page; null on the last")


def cursor_after(key: str | int) -> str:
    """The cursor of what comes after an item with this key."""
    return base64.urlsafe_b64encode(json.dumps(key).encode()).rstrip(b"=").decode()


def text_key(cursor: str | None) -> str:
    """Where a list in the order of texts goes on. Raises RequestRejected."""
    key = _key(cursor) if cursor else ""
    if not isinstance(key, str) or "\0" in key or any(0xD800 <= ord(each) < 0xE000 for each in key):
        raise _wrong()
    return key


def number_key(cursor: str | None) -> int | None:
    """Where a list in the order of numbers goes on, None: at its begin. Raises RequestRejected."""
    if cursor is None:
        return None
    key = _key(cursor)
    if not isinstance(key, int) or isinstance(key, bool) or not 0 <= key < 2**31:
        raise _wrong()
    return key


def _key(cursor: str) -> object:
    try:
        key: object = json.loads(base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        raise _wrong() from None
    return key


def _wrong() -> RequestRejected:
    return RequestRejected("The cursor is none of ours. Take `next` of a page, or leave it out for the first page.")
