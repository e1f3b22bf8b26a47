"""The schema revision that this release needs."""

from __future__ import annotations

from mindset.catalog.transactions import Connection, scalar

SCHEMA = "0009"
"""The last revision in `migrations/versions`."""


def is_migrated(connection: Connection) -> bool:
    """Return whether the schema is at least as new as this release needs."""
    return bool(
        scalar(connection, "SELECT to_regclass('alembic_version')")
        and (scalar(connection, "SELECT max(version_num) FROM alembic_version") or "") >= SCHEMA
    )
