"""Secrets that the processes of an installation share, created when they are first needed."""

from __future__ import annotations

import secrets

from mindset.catalog.pool import Catalog
from mindset.catalog.transactions import Connection, scalar


def server_secret(catalog: Catalog, name: str) -> bytes:
    """Return the secret of this name, the same in all processes. It has 256 bits."""
    with catalog.reading() as connection:
        if stored := _read(connection, name):
            return stored
    with catalog.writing() as connection:
        connection.execute(
            "INSERT INTO server_secret (name, secret) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            [name, secrets.token_bytes(32)],
        )
        stored = _read(connection, name)
        assert stored
        return stored


def _read(connection: Connection, name: str) -> bytes | None:
    stored: bytes | None = scalar(connection, "SELECT secret FROM server_secret WHERE name = %s", name)
    return stored
