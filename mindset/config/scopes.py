"""Scopes: what a caller may do."""

from __future__ import annotations

from enum import StrEnum


class Scope(StrEnum):
    """A permission of a caller. `admin` includes all others."""

    ASK = "ask"
    SEARCH = "search"
    READ = "read"
    FEEDBACK = "feedback"
    RELEASE = "release"
    OPERATE = "operate"
    ADMIN = "admin"
