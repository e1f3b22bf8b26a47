"""Which chunks and documents a version contains, for indexes in memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mindset.catalog.filters import Filter
from mindset.catalog.transactions import Connection, rows
from mindset.catalog.visibility import visibility


def version_chunks(connection: Connection, kb: str, version: int) -> list[tuple[str, NDArray[np.bytes_]]]:
    """Return the URI of each document of a version with the ids of its chunks."""
    found = rows(
        connection,
        """SELECT uri, string_agg(chunk_id, '') FROM placement
           WHERE kb = %(kb)s AND valid_from <= %(version)s AND (valid_to IS NULL OR valid_to > %(version)s)
           GROUP BY uri""",
        kb=kb,
        version=version,
    )
    return [(uri, np.frombuffer(chunk_ids.encode(), dtype="S32")) for uri, chunk_ids in found]


def visible_documents(
    connection: Connection, kb: str, version: int, principals: Sequence[str], where: Filter | None
) -> list[str]:
    """Return the URIs of a version's documents that the principals may read and that match the filter."""
    condition = visibility(where)
    found = rows(
        connection,
        f"""/* visible_documents: the first chunk stands for the whole document */
        SELECT p.uri FROM placement p JOIN document d ON d.kb = p.kb AND d.uri = p.uri
        WHERE p.kb = %(kb)s AND p.ordinal = 0 AND {condition.sql}""",  # noqa: S608  # constants and placeholders
        kb=kb,
        version=version,
        principals=list(principals),
        **condition.parameters,
    )
    return [uri for (uri,) in found]
