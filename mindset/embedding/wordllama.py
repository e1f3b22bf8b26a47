"""WordLlama: static token vectors that ship in a wheel, so that everything works with no service and no key."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mindset.embedding.protocol import ModelId, Vectors


class WordLlamaEmbedder:
    """256 dimensions, on the CPU, thousands of texts a second. Thread-safe: it only reads its tables."""

    model_id = ModelId("wordllama:wordllama:256")
    dimension = 256
    waits = False
    """A question takes a tenth of a millisecond: handing it to a thread would cost more than that."""

    def __init__(self) -> None:
        import wordllama

        # The wheel ships its tokenizer beside the package, not where the loader looks first; nothing is downloaded.
        self._model = wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        return np.asarray(self._model.embed(list(texts), norm=True), dtype=np.float32)

    def embed_query(self, text: str) -> NDArray[np.float32]:
        vector: NDArray[np.float32] = self.embed_passages([text])[0]
        return vector

    def close(self) -> None:
        """Nothing is held."""
