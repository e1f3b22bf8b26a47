"""API keys in the catalog."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mindset.catalog.transactions import Connection, WriteConnection, rows


@dataclass(frozen=True, slots=True)
class ApiKey:
    """The stored properties of a key; the key itself is not stored."""

    id: str
    name: str
    scopes: list[str]
    principals: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What is needed to verify a key."""

    secret_hash: bytes
    scopes: list[str]
    principals: list[str]
    is_valid: bool
    """Neither revoked nor expired, by the database's clock."""
    use_is_outdated: bool
    """Its last use was recorded at least a minute ago."""


_COLUMNS = "id, name, scopes, principals, created_at, expires_at, revoked_at, last_used_at"


def insert_key(
    connection: WriteConnection, id_: str, name: str, secret_hash: bytes, scopes: Sequence[str], principals: Sequence[str],
    expires_at: datetime | None,
) -> ApiKey:  # fmt: skip
    """Insert a key."""
    (found,) = rows(
        connection,
        f"""INSERT INTO api_key (id, name, secret_hash, scopes, principals, expires_at)
            VALUES (%(id)s, %(name)s, %(hash)s, %(scopes)s, %(principals)s, %(expires_at)s) RETURNING {_COLUMNS}""",  # noqa: S608
        id=id_, name=name, hash=secret_hash, scopes=list(scopes), principals=list(principals), expires_at=expires_at,
    )  # fmt: skip
    return ApiKey(*found)


def find_key(connection: Connection, id_: str) -> StoredKey | None:
    """Return the key with this id."""
    found = rows(
        connection,
        """SELECT secret_hash, scopes, principals, revoked_at IS NULL AND coalesce(expires_at > now(), true),
             coalesce(last_used_at < now() - interval '1 minute', true)
           FROM api_key WHERE id = %(id)s""",
        id=id_,
    )
    return StoredKey(*found[0]) if found else None


def record_key_use(connection: Connection, id_: str) -> None:
    """Record that a key was used now."""
    connection.execute("UPDATE api_key SET last_used_at = now() WHERE id = %s", [id_])


def list_keys(connection: Connection) -> list[ApiKey]:
    """Return all keys, newest first."""
    found = rows(connection, f"SELECT {_COLUMNS} FROM api_key ORDER BY created_at DESC, id")  # noqa: S608  # a constant
    return [ApiKey(*row) for row in found]


def revoke_key(connection: WriteConnection, id_: str) -> bool:
    """Revoke a key from this commit on. Returns whether the key exists."""
    statement = "UPDATE api_key SET revoked_at = coalesce(revoked_at, now()) WHERE id = %s"
    return bool(connection.execute(statement, [id_]).rowcount)
