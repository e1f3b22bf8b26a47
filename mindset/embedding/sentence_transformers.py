"""Models of the Sentence Transformers library, run in this process, on a GPU if there is one."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mindset.embedding.batches import plan_batches
from mindset.embedding.protocol import ModelId, Vectors
from mindset.embedding.vectors import empty_vectors, unit_vectors
from mindset.errors import ConfigurationError, ProviderUnavailable
from mindset.providers.deadline import Deadline


class SentenceTransformerEmbedder:
    """An embedder for local models. Thread-safe; one thread computes at a time.

    `token_budget` limits the estimated tokens of a batch, padding included. Raises ConfigurationError if the extra
    `gpu` is not installed or the model cannot be loaded."""

    def __init__(self, model: str, *, device: str | None = None, token_budget: int = 65_536) -> None:
        try:
            import torch
            from sentence_transformers import SentenceTransformer
        except ImportError:
            raise ConfigurationError(
                "embedding.provider sentence-transformers requires an extra: pip install product-mindset[gpu]"
            ) from None
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        # bfloat16 halves memory and time on a GPU; most CPUs only emulate it.
        model_kwargs = {"dtype": torch.bfloat16} if device.startswith("cuda") else {}
        try:
            self._model = SentenceTransformer(model, device=device, model_kwargs=model_kwargs)
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"embedding.model {model!r} cannot be loaded: {error}. "
                "Set it to a model of the Hugging Face Hub, or to a folder."
            ) from error
        self.dimension = int(self._model.get_embedding_dimension())
        self.model_id = ModelId(f"sentence-transformers:{model}:{self.dimension}")
        self._budget = token_budget
        self._lock = threading.Lock()  # the library's tokenizers are not thread-safe

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

    def embed_query(self, text: str, deadline: Deadline | None = None) -> NDArray[np.float32]:
        if not self._lock.acquire(timeout=deadline.seconds_left() if deadline else -1):
            raise ProviderUnavailable(f"{self.model_id} is busy with other texts. Try again shortly.")
        try:
            vector: NDArray[np.float32] = self._unit(self._model.encode_query([text], show_progress_bar=False))[0]
        finally:
            self._lock.release()
        return vector

    def close(self) -> None:
        """Do nothing: the memory is freed with the object."""

    def _lengths(self, texts: Sequence[str]) -> list[int]:
        # Estimated at three bytes per token, which holds for Chinese and is too high for English. Counting tokens took a
        # fifth of the time on a GPU. The model truncates texts at its limit, so they cost no more than that.
        limit = int(self._model.max_seq_length or 512)
        return [min(len(text.encode()) // 3 + 2, limit) for text in texts]

    def _unit(self, rows: NDArray[np.float32]) -> Vectors:
        # Normalized here in float32: the length of a bfloat16 vector is off by up to a percent.
        return unit_vectors(str(self.model_id), list(rows), self.dimension)
