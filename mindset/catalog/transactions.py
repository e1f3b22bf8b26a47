"""Connections inside transactions, and helpers that run one statement on them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, LiteralString, NewType

import psycopg

Connection = psycopg.Connection[Any]
"""A connection to read from; `Catalog.reading` yields one that cannot write."""

WriteConnection = NewType("WriteConnection", Connection)
"""A connection in a transaction that commits when its block ends."""


def rows(connection: Connection, statement: LiteralString, **parameters: Any) -> list[Any]:
    """Return all rows of a statement as tuples."""
    return connection.execute(statement, parameters).fetchall()


def scalar(connection: Connection, statement: LiteralString, *parameters: Any) -> Any:
    """Return the first column of the first row, or None if there are no rows."""
    row = connection.execute(statement, parameters).fetchone()
    return row[0] if row else None


def copy_rows(
    connection: WriteConnection, target: LiteralString, types: list[str], records: Iterator[tuple[Any, ...]]
) -> int:
    """COPY records into `target` (`table (columns)`) in binary format and return their number."""
    count = 0
    with connection.cursor() as cursor, cursor.copy(f"COPY {target} FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(types)
        for record in records:
            copy.write_row(record)
            count += 1
    return count
