"""WordLlama: static token vectors that ship in a wheel, so that everything works with no service and no key."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mindset.embedding.protocol import ModelId, Vectors

if TYPE_CHECKING:
    from wordllama import WordLlamaInference


class WordLlamaEmbedder:
    """256 dimensions, on the CPU, thousands of texts a second. Thread-safe: it only reads its tables."""

    model_id = ModelId("wordllama:wordllama:256")
    dimension = 256
    is_instant = True
    """A question takes a tenth of a millisecond: handing it to a thread would cost more than that."""

    def __init__(self) -> None:
        self._model = _loaded()

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        return np.asarray(self._model.embed(list(texts), norm=True), dtype=np.float32)

    def embed_query(self, text: str) -> NDArray[np.float32]:
        vector: NDArray[np.float32] = self.embed_passages([text])[0]
        return vector

    def close(self) -> None:
        """Nothing is held that others do not use."""


@cache
def _loaded() -> WordLlamaInference:
    """The tables, once a process: 50 MiB, and a fifth of a second to read."""
    import wordllama

    # The wheel ships its tokenizer beside the package, not where the loader looks first; nothing is downloaded.
    return wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)
