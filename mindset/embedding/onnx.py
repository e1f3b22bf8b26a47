"""Models in ONNX format, run in this process on the CPU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mindset.embedding.protocol import ModelId, Vectors
from mindset.embedding.vectors import empty_vectors, unit_vectors
from mindset.providers.deadline import Deadline
from mindset.providers.onnx_model import OnnxModel


class OnnxEmbedder:
    """An embedder for a folder or an installed package with `model.onnx` and `tokenizer.json`. Thread-safe.

    Files of Sentence Transformers beside them say which pooling and which prefixes the model needs; otherwise it is the mean
    and none. A text that exceeds the model's length gets the mean vector of several windows, so that all of it counts. Raises
    ConfigurationError if the model cannot be loaded."""

    def __init__(self, model: str) -> None:
        self._model = OnnxModel(model, "embedding.model")
        self.dimension = self._model.output_width()
        self.model_id = ModelId(f"onnx:{model}:{self.dimension}")

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        return self._embed([self._model.settings.passage_prefix + text for text in texts], None)

    def embed_query(self, text: str, deadline: Deadline | None = None) -> NDArray[np.float32]:
        vector: NDArray[np.float32] = self._embed([self._model.settings.query_prefix + text], deadline)[0]
        return vector

    def close(self) -> None:
        self._model.close()

    def _embed(self, texts: Sequence[str], deadline: Deadline | None) -> Vectors:
        if not texts:
            return empty_vectors(self.dimension)
        windows = [[encoding, *encoding.overflowing] for encoding in self._model.encode(texts)]
        outputs = self._model.run([window for text in windows for window in text], deadline)
        rows = [self._pooled([next(outputs) for _ in text], [len(window.ids) for window in text]) for text in windows]
        return unit_vectors(self.model_id, rows, self.dimension)

    def _pooled(self, outputs: Sequence[NDArray[np.float32]], tokens: Sequence[int]) -> NDArray[np.float32]:
        """Return the mean of the windows' vectors, weighted by their tokens."""
        return np.asarray(
            np.average([self._vector(output) for output in outputs], axis=0, weights=tokens), dtype=np.float32
        )

    def _vector(self, output: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return one vector; `output` has one for each token, unless the model pools them itself."""
        if output.ndim == 1:
            return output
        vector: NDArray[np.float32] = output[0] if self._model.settings.pooling == "cls" else output.mean(axis=0)
        return vector
