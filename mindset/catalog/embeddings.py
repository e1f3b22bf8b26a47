"""Embeddings: vectors identified by model and chunk id."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from psycopg import sql

from mindset.catalog.build import BuildConnection
from mindset.catalog.filters import Filter
from mindset.catalog.transactions import Connection, WriteConnection, copy_rows, scalar
from mindset.catalog.visibility import visibility

Vectors = NDArray[np.float32]


def partition(model: str) -> str:
    """Return the name of the model's partition."""
    words = re.sub("[^a-z0-9]+", "_", model.lower())[:30]
    return f"embedding_p_{words}_{hashlib.sha256(model.encode()).hexdigest()[:8]}"


def prepare_model(connection: WriteConnection, model: str) -> None:
    """Create the model's partition unless it exists."""
    name = partition(model)
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 1))", [name])
    if scalar(connection, "SELECT to_regclass(%s)", name):
        return
    # CREATE TABLE ... PARTITION OF would wait for all readers of embeddings, such as a backup, and block those behind it.
    # Attaching a table does not.
    table = sql.Identifier(name)
    connection.execute(sql.SQL("CREATE TABLE {} (LIKE embedding INCLUDING ALL)").format(table))
    attach = sql.SQL("ALTER TABLE embedding ATTACH PARTITION {} FOR VALUES IN ({})")
    connection.execute(attach.format(table, sql.Literal(model)))


def store_embeddings(connection: BuildConnection, model: str, chunk_ids: Sequence[str], vectors: Vectors) -> None:
    """Store one vector per chunk id, shape (chunk ids, dimension). Existing vectors are kept."""
    connection.execute("CREATE TEMPORARY TABLE embedded (chunk_id text, vector bytea) ON COMMIT DROP")
    little_endian = np.ascontiguousarray(vectors, dtype="<f4")
    copy_rows(
        connection,
        "embedded",
        ["text", "bytea"],
        ((chunk_id, little_endian[index].tobytes()) for index, chunk_id in enumerate(chunk_ids)),
    )
    connection.execute(
        "INSERT INTO embedding SELECT %s, chunk_id, vector FROM embedded ON CONFLICT DO NOTHING",
        [model],
    )
    connection.execute("DROP TABLE embedded")


def read_embeddings(
    connection: Connection, model: str, chunk_ids: Sequence[str], batch: int = 5_000
) -> Iterator[tuple[list[str], Vectors]]:
    """Yield chunk ids and vectors, shape (batch, dimension), in order; ids without a vector are skipped."""
    for start in range(0, len(chunk_ids), batch):
        part = list(chunk_ids[start : start + batch])
        found = dict(
            connection.execute(
                "SELECT chunk_id, vector FROM embedding WHERE model = %s AND chunk_id = ANY(%s)",
                [model, part],
                binary=True,
            ).fetchall()
        )
        stored = [chunk_id for chunk_id in part if chunk_id in found]
        if stored:
            flat = np.frombuffer(b"".join(found[chunk_id] for chunk_id in stored), dtype="<f4").astype(
                np.float32, copy=False
            )
            yield stored, flat.reshape(len(stored), -1)


def visible_embeddings(
    connection: Connection,
    kb: str,
    version: int,
    model: str,
    principals: Sequence[str],
    where: Filter | None = None,
    *,
    seconds: float,
    batch: int,
) -> Generator[tuple[list[str], Vectors], None, None]:
    """Yield ids and vectors of all chunks of the version that the principals may read, in batches and in no order.

    Requires a transaction and uses a server-side cursor: close the generator before the transaction ends. A fetch that
    takes longer than `seconds` is cancelled."""
    connection.execute(
        "SELECT set_config('cursor_tuple_fraction', '1', true), set_config('statement_timeout', %s, true)",
        [str(max(1, round(seconds * 1000)))],
    )
    condition = visibility(where)
    with connection.cursor(name="visible_embeddings", binary=True) as cursor:
        cursor.execute(
            f"""/* visible_embeddings: the vectors of all chunks that a caller may read, for exact search */
            SELECT e.chunk_id, e.vector FROM embedding e
            WHERE e.model = %(model)s AND e.chunk_id IN (
              SELECT p.chunk_id FROM placement p JOIN document d ON d.kb = p.kb AND d.uri = p.uri
              WHERE p.kb = %(kb)s AND {condition.sql})""",  # noqa: S608  # constants and placeholders
            {"kb": kb, "version": version, "model": model, "principals": list(principals), **condition.parameters},
        )
        while found := cursor.fetchmany(batch):
            vectors = np.frombuffer(b"".join(vector for _, vector in found), dtype="<f4")
            yield [chunk_id for chunk_id, _ in found], vectors.reshape(len(found), -1)
