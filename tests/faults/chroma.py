"""Collections from outside: read as they are, and damaged as no code of ours would."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from mindset.index.client import open_client

if TYPE_CHECKING:
    from chromadb.api import ClientAPI

Damage = Literal["drop it", "lose chunks", "add strangers", "exchange chunks"]

# What a look at the count shows, and what only a comparison of every id does.
AT_A_GLANCE: tuple[Damage, ...] = ("drop it", "lose chunks", "add strangers")
DAMAGES: tuple[Damage, ...] = (*AT_A_GLANCE, "exchange chunks")


class Outside:
    """A client of its own on a Chroma server."""

    def __init__(self, url: str) -> None:
        self._client: ClientAPI = open_client(url)

    def vectors(self, collection: str) -> dict[str, NDArray[np.float32]]:
        """{chunk: vector} of everything that a collection holds."""
        held = self._client.get_collection(collection, embedding_function=None).get(include=["embeddings"])
        return dict(zip(held["ids"], np.asarray(held["embeddings"], dtype=np.float32), strict=True))

    def collections(self, kb: str) -> set[str]:
        """The collections that bear a knowledge base's name."""
        return {each.name for each in self._client.list_collections(limit=10_000) if each.name.startswith(f"{kb}-")}

    def damage(self, collection: str, damage: Damage) -> None:
        """Do this to a collection."""
        if damage == "drop it":
            self._client.delete_collection(collection)
            return
        handle = self._client.get_collection(collection, embedding_function=None)
        ids = handle.get(include=[])["ids"]
        lost = max(1, len(ids) // 3)
        if damage != "add strangers":
            handle.delete(ids=ids[:lost])
        if damage != "lose chunks":
            vectors = np.random.default_rng(len(ids)).normal(size=(lost, 256)).astype(np.float32)
            handle.add(ids=[f"stranger {each}" for each in range(lost)], embeddings=vectors)
