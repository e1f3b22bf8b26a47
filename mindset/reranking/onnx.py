"""Cross-encoders in ONNX format, run in this process on the CPU."""

from __future__ import annotations

from collections.abc import Sequence

from mindset.errors import ConfigurationError
from mindset.providers.deadline import Deadline
from mindset.providers.onnx_model import OnnxModel


class OnnxReranker:
    """A reranker for a folder or an installed package with `model.onnx` and `tokenizer.json`. Thread-safe.

    The model reads a question and a text as a pair, cut to its length, and returns one score. Raises ConfigurationError if it
    cannot be loaded or returns something else."""

    def __init__(self, model: str) -> None:
        self._model = OnnxModel(model, "retrieval.rerank.model")
        if self._model.output_rank() != 2 or self._model.output_width() != 1:
            self._model.close()
            raise ConfigurationError(
                f"retrieval.rerank.model {model!r} does not return one score for a pair of texts. Use a cross-encoder."
            )

    def rank(self, question: str, texts: Sequence[str], deadline: Deadline) -> list[int]:
        pairs = self._model.encode([(question, text) for text in texts])
        scores = [float(output[0]) for output in self._model.run(pairs, deadline)]
        return sorted(range(len(texts)), key=lambda index: (-scores[index], index))

    def close(self) -> None:
        self._model.close()
