"""The embedders that all contestants use."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mindset.embedding.protocol import Embedder, ModelId, Vectors
from mindset.embedding.wordllama import WordLlamaEmbedder
from mindset.providers.deadline import Deadline

NAMES = ("wordllama", "constant")

_ROWS = 4096


class ConstantEmbedder:
    """Draws vectors from fixed tables by a text's hash, at almost no cost: what remains is the framework's time."""

    model_id = ModelId("constant:hash:256")
    dimension = 256

    def __init__(self) -> None:
        draw = np.random.default_rng(0)
        # Clusters and positions in them: 16 million vectors whose distances vary.
        self._coarse = draw.standard_normal((_ROWS, self.dimension), dtype=np.float32)
        self._fine = draw.standard_normal((_ROWS, self.dimension), dtype=np.float32) / 2

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        hashes = np.fromiter((zlib.crc32(text.encode()) for text in texts), dtype=np.uint32, count=len(texts))
        rows = self._coarse[hashes % _ROWS] + self._fine[hashes // _ROWS % _ROWS]
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)

    def embed_query(
        self,
        text: str,
        deadline: Deadline | None = None,  # noqa: ARG002  # not remote
    ) -> NDArray[np.float32]:
        vector: NDArray[np.float32] = self.embed_passages([text])[0]
        return vector

    def close(self) -> None:
        """Do nothing: there are no resources."""


def open_embedder(name: str) -> Embedder:
    """Return the embedder of this name, loaded and warm."""
    embedder: Embedder = WordLlamaEmbedder() if name == "wordllama" else ConstantEmbedder()
    embedder.embed_passages(["Warm up."])
    return embedder
