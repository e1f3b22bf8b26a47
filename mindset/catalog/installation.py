"""The installation's id: its collections in Chroma and its keys in Redis carry it, so that installations can share servers.

A copy of a database has the id of the original. It must not change what belongs to the original, so the row of the id also
names the database in which it was written."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from mindset.catalog.transactions import Connection, WriteConnection, rows, scalar
from mindset.errors import CopiedDatabase

ID_LENGTH = 12
"""Number of hexadecimal digits of an id."""


@dataclass(frozen=True, slots=True)
class InstallationRecord:
    """The installation's row."""

    id: str
    created_at: datetime
    is_copy: bool
    """Whether the row was written in another database: this one was copied from it, or restored or moved elsewhere."""
    database: str
    """Identifies the database that the row was read from."""

    def own_id(self) -> str:
        """Return the id. Raises CopiedDatabase if the row was written in another database."""
        if self.is_copy:
            raise CopiedDatabase(
                f"This database is a copy of the one of installation {self.id}, which may still be in use. If this one is "
                "an additional installation, run `mindset installation renew`. If it replaces the original, "
                "run `mindset installation keep`."
            )
        return self.id


@dataclass(frozen=True, slots=True)
class _Database:
    """A database, as far as the role may know."""

    system: str | None
    """Identifier that the server got when it was created; None if the role may not read it."""
    oid: int


def read_installation(connection: Connection) -> InstallationRecord:
    """Return the installation's row. Raises CopiedDatabase if somebody deleted it."""
    found = rows(connection, "SELECT id, created_at, system_identifier, database_oid FROM installation")
    if not found:
        raise CopiedDatabase("The table `installation` is empty. Run `mindset installation renew`.")
    id_, created_at, system, oid = found[0]
    database = _database(connection)
    other_server = None not in (system, database.system) and system != database.system
    is_copy = other_server or oid != database.oid
    return InstallationRecord(id_, created_at, is_copy, f"{database.system or 'unknown'}-{database.oid}")


def own_id(connection: Connection) -> str:
    """Return the installation's id, for everything that changes a store. Raises CopiedDatabase."""
    return read_installation(connection).own_id()


def keep_id(connection: WriteConnection) -> bool:
    """Confirm that this database replaces the one in which the id was written. Returns whether it was a copy."""
    was_copy = read_installation(connection).is_copy
    database = _database(connection)
    connection.execute(
        "UPDATE installation SET system_identifier = %s, database_oid = %s", [database.system, database.oid]
    )
    return was_copy


def renew_id(connection: WriteConnection) -> str:
    """Give the installation a new id and return it. What carries the old one no longer belongs to this installation."""
    database = _database(connection)
    return str(
        scalar(
            connection,
            """INSERT INTO installation (id, system_identifier, database_oid)
               VALUES (left(replace(gen_random_uuid()::text, '-', ''), %s), %s, %s)
               ON CONFLICT (singleton) DO UPDATE SET id = excluded.id, created_at = now(),
                 system_identifier = excluded.system_identifier, database_oid = excluded.database_oid
               RETURNING id""",
            ID_LENGTH,
            database.system,
            database.oid,
        )
    )


def knowledge_base_names(connection: Connection) -> list[str]:
    """Return the names of all knowledge bases that have been ingested."""
    return [name for (name,) in rows(connection, "SELECT name FROM knowledge_base ORDER BY name")]


def has_other_knowledge_bases(connection: WriteConnection, names: Collection[str]) -> bool:
    """Return whether there is a knowledge base besides these. None can be added until the transaction ends."""
    connection.execute("LOCK TABLE knowledge_base IN SHARE MODE")
    return bool(set(knowledge_base_names(connection)) - set(names))


def _database(connection: Connection) -> _Database:
    """Return the database of a connection. Managed services may forbid reading the server's identifier."""
    readable, oid = rows(
        connection,
        """SELECT has_function_privilege('pg_control_system()', 'EXECUTE'), oid::bigint FROM pg_database
           WHERE datname = current_database()""",
    )[0]
    system = scalar(connection, "SELECT system_identifier::text FROM pg_control_system()") if readable else None
    return _Database(system, oid)
