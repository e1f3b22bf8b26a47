"""Dropping collections: the only place that does, so that nothing of another installation on the server is dropped."""

from __future__ import annotations

import structlog

from mindset.catalog.collections import is_own_collection
from mindset.catalog.pool import Catalog
from mindset.vector_index.chroma import ChromaIndex

_log = structlog.get_logger()


def drop_collection(catalog: Catalog, vectors: ChromaIndex, collection: str) -> bool:
    """Drop a collection if it exists and this installation created it. Returns whether this installation created it.

    Raises CopiedDatabase, ServiceUnavailable."""
    with catalog.reading() as connection:
        own = is_own_collection(connection, collection)
    if own:
        vectors.drop(collection)
    else:
        _log.info("collection of another installation is kept", collection=collection)
    return own
