"""Any model of the Sentence Transformers library, in the process and, where there is one, on the GPU."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mindset.embedding.batches import plan_batches
from mindset.embedding.protocol import ModelId, Vectors
from mindset.embedding.vectors import empty_vectors, unit_vectors
from mindset.errors import ConfigurationError


class SentenceTransformerEmbedder:
    """Thread-safe: one thread at a time computes. `token_budget` bounds a batch, padding included, by an estimate.

    Raises ConfigurationError where the extra `gpu` is not installed or the model cannot be loaded."""

    def __init__(self, model: str, *, device: str | None = None, token_budget: int = 65_536) -> None:
        try:
            import torch
            from sentence_transformers import SentenceTransformer
        except ImportError:
            raise ConfigurationError(
                "embedding.provider sentence-transformers needs an extra: pip install product-mindset[gpu]"
            ) from None
        place = device or ("cuda" if torch.cuda.is_available() else "cpu")
        # bfloat16 halves memory and time on a GPU; most CPUs only emulate it.
        kind = {"dtype": torch.bfloat16} if place.startswith("cuda") else {}
        try:
            self._model = SentenceTransformer(model, device=place, model_kwargs=kind)
        except (OSError, ValueError) as wrong:
            raise ConfigurationError(
                f"embedding.model {model!r} cannot be loaded: {wrong}. Name a model of the hub, or a folder."
            ) from wrong
        self.dimension = int(self._model.get_embedding_dimension())
        self.model_id = ModelId(f"sentence-transformers:{model}:{self.dimension}")
        self._budget = token_budget
        self._lock = threading.Lock()  # the library's tokenizers may not be borrowed twice

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            return empty_vectors(self.dimension)
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        with self._lock:
            for batch in plan_batches(self._lengths(texts), self._budget):
                rows = self._model.encode_document(
                    [texts[position] for position in batch], batch_size=len(batch), show_progress_bar=False
                )
                vectors[batch] = self._unit(rows)
        return vectors

    def embed_query(self, text: str) -> NDArray[np.float32]:
        with self._lock:
            vector: NDArray[np.float32] = self._unit(self._model.encode_query([text], show_progress_bar=False))[0]
        return vector

    def close(self) -> None:
        """The memory goes with the object."""

    def _lengths(self, texts: Sequence[str]) -> list[int]:
        # Three bytes a token is what Chinese takes and less than English does; counting took a fifth of the time on a
        # GPU. Texts over the model's limit are truncated by it, and so cost no more than the limit.
        limit = int(self._model.max_seq_length or 512)
        return [min(len(text.encode()) // 3 + 2, limit) for text in texts]

    def _unit(self, rows: NDArray[np.float32]) -> Vectors:
        # Normalised here, in float32: a bfloat16 vector's length is off by up to a percent.
        return unit_vectors(str(self.model_id), list(rows), self.dimension)
