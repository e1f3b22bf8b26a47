"""API keys as the catalog keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mindset.catalog.connection import Connection, Writing, rows


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What is known of a key; not the key."""

    id: str
    name: str
    scopes: list[str]
    principals: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class FoundKey:
    """What telling whether a key counts takes."""

    secret_hash: bytes
    scopes: list[str]
    principals: list[str]
    counts: bool
    """Neither revoked nor expired, by the database's clock."""
    use_is_old: bool
    """Its last use was noted a minute ago or more."""


_COLUMNS = "id, name, scopes, principals, created_at, expires_at, revoked_at, last_used_at"


def insert_key(
    connection: Writing, id_: str, name: str, secret_hash: bytes, scopes: Sequence[str], principals: Sequence[str],
    expires_at: datetime | None,
) -> KeyRecord:  # fmt: skip
    """Add a key."""
    (found,) = rows(
        connection,
        f"""INSERT INTO api_key (id, name, secret_hash, scopes, principals, expires_at)
            VALUES (%(id)s, %(name)s, %(hash)s, %(scopes)s, %(principals)s, %(expires_at)s) RETURNING {_COLUMNS}""",  # noqa: S608
        id=id_, name=name, hash=secret_hash, scopes=list(scopes), principals=list(principals), expires_at=expires_at,
    )  # fmt: skip
    return KeyRecord(*found)


def find_key(connection: Connection, id_: str) -> FoundKey | None:
    """The key of an id."""
    found = rows(
        connection,
        """SELECT secret_hash, scopes, principals, revoked_at IS NULL AND coalesce(expires_at > now(), true),
             coalesce(last_used_at < now() - interval '1 minute', true)
           FROM api_key WHERE id = %(id)s""",
        id=id_,
    )
    return FoundKey(*found[0]) if found else None


def note_use(connection: Connection, id_: str) -> None:
    """Note that a key is used now."""
    connection.execute("UPDATE api_key SET last_used_at = now() WHERE id = %s", [id_])


def list_keys(connection: Connection) -> list[KeyRecord]:
    """All keys, the newest first."""
    found = rows(connection, f"SELECT {_COLUMNS} FROM api_key ORDER BY created_at DESC, id")  # noqa: S608  # a constant
    return [KeyRecord(*each) for each in found]


def revoke_key(connection: Writing, id_: str) -> bool:
    """Let a key count no more, from this commit on; whether there is such a key."""
    statement = "UPDATE api_key SET revoked_at = coalesce(revoked_at, now()) WHERE id = %s"
    return bool(connection.execute(statement, [id_]).rowcount)
