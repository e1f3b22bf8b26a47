"""The embedders that everybody is measured with."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mindset.embedding.protocol import Embedder, ModelId, Vectors
from mindset.embedding.wordllama import WordLlamaEmbedder

NAMES = ("wordllama", "constant")

_ROWS = 4096


class ConstantEmbedder:
    """Vectors drawn by a text's hash from fixed tables, for next to nothing: what is left is the framework's time."""

    model_id = ModelId("constant:hash:256")
    dimension = 256

    def __init__(self) -> None:
        draw = np.random.default_rng(0)
        # Neighbourhoods and places in them: 16 million vectors that are not all equally far from each other.
        self._coarse = draw.standard_normal((_ROWS, self.dimension), dtype=np.float32)
        self._fine = draw.standard_normal((_ROWS, self.dimension), dtype=np.float32) / 2

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        hashes = np.fromiter((zlib.crc32(text.encode()) for text in texts), dtype=np.uint32, count=len(texts))
        rows = self._coarse[hashes % _ROWS] + self._fine[hashes // _ROWS % _ROWS]
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)

    def embed_query(self, text: str) -> NDArray[np.float32]:
        vector: NDArray[np.float32] = self.embed_passages([text])[0]
        return vector

    def close(self) -> None:
        """Nothing is held."""


def open_embedder(name: str) -> Embedder:
    """The embedder of that name, loaded and warm."""
    embedder: Embedder = WordLlamaEmbedder() if name == "wordllama" else ConstantEmbedder()
    embedder.embed_passages(["Warm up."])
    return embedder
