"""Read and damage Chroma collections directly, bypassing the index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from mindset.catalog.installation import ID_LENGTH
from mindset.vector_index.client import open_client

if TYPE_CHECKING:
    from chromadb.api import ClientAPI

Damage = Literal["drop it", "lose chunks", "add strangers", "exchange chunks"]

# Damage that the row count reveals. "exchange chunks" keeps the count: only a comparison of all ids finds it.
VISIBLE_DAMAGES: tuple[Damage, ...] = ("drop it", "lose chunks", "add strangers")
DAMAGES: tuple[Damage, ...] = (*VISIBLE_DAMAGES, "exchange chunks")


class DirectChroma:
    """A separate client of a Chroma server."""

    def __init__(self, url: str) -> None:
        self._client: ClientAPI = open_client(url)

    def vectors(self, collection: str) -> dict[str, NDArray[np.float32]]:
        """Return {chunk: vector} of a whole collection."""
        rows = self._client.get_collection(collection, embedding_function=None).get(include=["embeddings"])
        return dict(zip(rows["ids"], np.asarray(rows["embeddings"], dtype=np.float32), strict=True))

    def collections(self, kb: str) -> set[str]:
        """Return the names of a knowledge base's collections."""
        collections = self._client.list_collections(limit=10_000)
        return {collection.name for collection in collections if collection.name[ID_LENGTH + 1 :].startswith(f"{kb}-")}

    def damage(self, collection: str, damage: Damage) -> None:
        """Damage a collection in this way."""
        if damage == "drop it":
            self._client.delete_collection(collection)
            return
        handle = self._client.get_collection(collection, embedding_function=None)
        ids = handle.get(include=[])["ids"]
        count = max(1, len(ids) // 3)
        if damage != "add strangers":
            handle.delete(ids=ids[:count])
        if damage != "lose chunks":
            vectors = np.random.default_rng(len(ids)).normal(size=(count, 256)).astype(np.float32)
            handle.add(ids=[f"stranger {number}" for number in range(count)], embeddings=vectors)
