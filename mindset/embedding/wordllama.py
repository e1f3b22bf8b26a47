"""WordLlama: static token vectors that ship in a wheel, so that no service and no API key is needed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mindset.embedding.protocol import ModelId, Vectors
from mindset.providers.deadline import Deadline

if TYPE_CHECKING:
    from wordllama import WordLlamaInference


class WordLlamaEmbedder:
    """An embedder with 256 dimensions. It embeds thousands of texts per second on the CPU. Thread-safe."""

    model_id = ModelId("wordllama:wordllama:256")
    dimension = 256
    is_instant = True
    """A question takes 0.1 ms, less than handing it to a thread."""

    def __init__(self) -> None:
        self._model = _load_model()

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        return np.asarray(self._model.embed(list(texts), norm=True), dtype=np.float32)

    def embed_query(
        self,
        text: str,
        deadline: Deadline | None = None,  # noqa: ARG002  # not remote
    ) -> NDArray[np.float32]:
        vector: NDArray[np.float32] = self.embed_passages([text])[0]
        return vector

    def close(self) -> None:
        """Do nothing: the tables are shared by all embedders of the process."""


@cache
def _load_model() -> WordLlamaInference:
    """Load the tables once per process: 50 MiB, 0.2 s."""
    import wordllama

    # The wheel ships its tokenizer in the package's folder, which is not where the loader looks by default.
    return wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)
