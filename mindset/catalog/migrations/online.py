"""Steps of migrations on large tables that block neither reads nor writes.

Each step commits what came before it in its migration and can be repeated, so a migration that uses one must consist of
repeatable steps only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from alembic import op


def create_index(name: str, table: str, columns: str, where: str | None = None, *, unique: bool = False) -> None:
    """Create an index while the table is read and written. `columns` and `where` are SQL.

    It waits for transactions that began earlier, such as a backup, as long as they last: nobody waits behind it, and a
    timeout would discard the index, which may have taken an hour."""
    with op.get_context().autocommit_block(), _without_lock_timeout():
        # An attempt that was interrupted leaves an invalid index.
        valid = (
            op.get_bind()
            .execute(
                sa.text(
                    "SELECT indisvalid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid "
                    "WHERE relname = :name AND relnamespace = current_schema()::regnamespace"
                ),
                {"name": name},
            )
            .scalar()
        )
        if valid:
            return
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        condition = f" WHERE {where}" if where else ""
        kind = "UNIQUE INDEX" if unique else "INDEX"
        op.execute(f"CREATE {kind} CONCURRENTLY {name} ON {table} ({columns}){condition}")


@contextmanager
def _without_lock_timeout() -> Iterator[None]:
    connection = op.get_bind()
    timeout = connection.execute(sa.text("SHOW lock_timeout")).scalar()
    connection.execute(sa.text("SET lock_timeout = 0"))
    try:
        yield
    finally:
        connection.execute(sa.text("SELECT set_config('lock_timeout', :timeout, false)"), {"timeout": timeout})


def add_constraint(name: str, table: str, definition: str) -> None:
    """Add a CHECK or FOREIGN KEY constraint. Rows are checked in a second transaction, which blocks neither reads nor writes."""
    with op.get_context().autocommit_block():
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}")
        op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition} NOT VALID")
        op.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")
