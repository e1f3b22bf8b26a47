"""Vectors, named by model and text."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Generator, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from psycopg import sql

from mindset.catalog.connection import Connection, Writing, copy_rows, scalar
from mindset.catalog.filters import Filter
from mindset.catalog.passages import visible

Vectors = NDArray[np.float32]


def partition(model: str) -> str:
    """Name of the model's table."""
    words = re.sub("[^a-z0-9]+", "_", model.lower())[:30]
    return f"embedding_p_{words}_{hashlib.sha256(model.encode()).hexdigest()[:8]}"


def prepare_model(connection: Writing, model: str) -> None:
    """Make sure that the model has its partition."""
    name = partition(model)
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 1))", [name])
    if scalar(connection, "SELECT to_regclass(%s)", name):
        return
    # Attached, not made as a partition: that would wait for everybody who reads vectors, such as a backup, and all behind it.
    table = sql.Identifier(name)
    connection.execute(sql.SQL("CREATE TABLE {} (LIKE embedding INCLUDING ALL)").format(table))
    attach = sql.SQL("ALTER TABLE embedding ATTACH PARTITION {} FOR VALUES IN ({})")
    connection.execute(attach.format(table, sql.Literal(model)))


def store_embeddings(connection: Writing, model: str, texts: Sequence[str], vectors: Vectors) -> None:
    """Store one vector a text hash; a text that got its vector meanwhile keeps it."""
    connection.execute("CREATE TEMPORARY TABLE embedded (text_hash text, vector bytea) ON COMMIT DROP")
    little_endian = np.ascontiguousarray(vectors, dtype="<f4")
    copy_rows(
        connection,
        "embedded",
        ["text", "bytea"],
        ((text, little_endian[at].tobytes()) for at, text in enumerate(texts)),
    )
    connection.execute(
        "INSERT INTO embedding SELECT %s, text_hash, vector FROM embedded ON CONFLICT DO NOTHING",
        [model],
    )
    connection.execute("DROP TABLE embedded")


def read_embeddings(
    connection: Connection, model: str, texts: Sequence[str], batch: int = 5_000
) -> Iterator[tuple[list[str], Vectors]]:
    """Hashes and vectors, shape (batch, dimension), of those texts that the model has embedded, in order."""
    for start in range(0, len(texts), batch):
        part = list(texts[start : start + batch])
        found = dict(
            connection.execute(
                "SELECT text_hash, vector FROM embedding WHERE model = %s AND text_hash = ANY(%s)",
                [model, part],
                binary=True,
            ).fetchall()
        )
        kept = [text for text in part if text in found]
        if kept:
            flat = np.frombuffer(b"".join(found[text] for text in kept), dtype="<f4").astype(np.float32, copy=False)
            yield kept, flat.reshape(len(kept), -1)


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
    """Hashes and vectors of all chunks that the version shows to these principals and the filter, in batches and in no order.

    Needs a transaction, and to be closed before that ends: a cursor of the server's keeps what is not read yet. A fetch
    of more than `seconds` is cut off."""
    connection.execute(
        "SELECT set_config('cursor_tuple_fraction', '1', true), set_config('statement_timeout', %s, true)",
        [str(max(1, round(seconds * 1000)))],
    )
    shown = visible(where)
    with connection.cursor(name="visible_embeddings", binary=True) as cursor:
        cursor.execute(
            f"""/* visible_embeddings: what a caller may see, to be compared without an index */
            SELECT e.text_hash, e.vector FROM embedding e
            WHERE e.model = %(model)s AND e.text_hash IN (
              SELECT p.chunk FROM placement p JOIN document d ON d.kb = p.kb AND d.uri = p.uri
              WHERE p.kb = %(kb)s AND {shown.sql})""",  # noqa: S608  # constants and placeholders
            {"kb": kb, "version": version, "model": model, "principals": list(principals), **shown.parameters},
        )
        while found := cursor.fetchmany(batch):
            vectors = np.frombuffer(b"".join(vector for _, vector in found), dtype="<f4")
            yield [text for text, _ in found], vectors.reshape(len(found), -1)
