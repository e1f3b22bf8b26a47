"""NVIDIA's embedding models, through the HTTP API of a NIM."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr

from mindset.embedding.protocol import ModelId, Vectors
from mindset.embedding.vectors import empty_vectors, unit_vectors
from mindset.errors import ProviderUnavailable
from mindset.providers import nim_client
from mindset.providers.deadline import Deadline, retry_call

# Models with a configurable dimension. All others reject a request that names one.
_CONFIGURABLE_DIMENSION = ("llama-nemotron-embed-1b", "llama-3.2-nv-embedqa-1b")


class NimEmbedder:
    """An embedder for the models of a NIM. Thread-safe. `deadline_s` limits one batch including its retries."""

    def __init__(
        self,
        url: str,
        model: str,
        dimension: int,
        api_key: SecretStr | None = None,
        *,
        batch: int = 50,
        concurrency: int = 4,
        deadline_s: float = 60.0,
    ) -> None:
        self.model_id = ModelId(f"nim:{model}:{dimension}")
        self.dimension = dimension
        self._model = model
        self._batch = batch
        self._deadline_s = deadline_s
        # One more connection than threads, for questions.
        self._client = nim_client.open_client(url, api_key, connections=concurrency + 1)
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="nim-embed")

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            return empty_vectors(self.dimension)
        batches = [texts[at : at + self._batch] for at in range(0, len(texts), self._batch)]
        return np.concatenate(list(self._pool.map(lambda batch: self._embed(batch, "passage"), batches)))

    def embed_query(self, text: str, deadline: Deadline | None = None) -> NDArray[np.float32]:
        vector: NDArray[np.float32] = self._embed([text], "query", deadline)[0]
        return vector

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._client.close()

    def _embed(
        self, texts: Sequence[str], input_type: Literal["passage", "query"], deadline: Deadline | None = None
    ) -> Vectors:
        deadline = deadline or Deadline(self._deadline_s)
        body: dict[str, object] = {
            "model": self._model,
            "input": list(texts),
            "input_type": input_type,
            "truncate": "NONE",  # report a text that is too long: truncated silently, only its beginning could be found
            "encoding_format": "float",
        }
        if any(name in self._model for name in _CONFIGURABLE_DIMENSION):
            body["dimensions"] = self.dimension

        def attempt() -> Vectors:
            with nim_client.stream_response(self._client, self._model, "embeddings", body, deadline) as response:
                return self._vectors(b"".join(nim_client.read_chunks(response, self._model, deadline)), len(texts))

        return retry_call(attempt, deadline)

    def _vectors(self, body: bytes, expected: int) -> Vectors:
        try:
            data = sorted(json.loads(body)["data"], key=lambda item: int(item["index"]))
            indexes = [int(item["index"]) for item in data]
            rows = [item["embedding"] for item in data]
        except (KeyError, TypeError, ValueError) as error:
            raise ProviderUnavailable(
                f"NIM model {self._model} returned no embeddings ({type(error).__name__}). "
                "If this persists, check that MINDSET_NIM_URL is the address of a NIM."
            ) from error
        if indexes != list(range(expected)):
            raise ProviderUnavailable(
                f"NIM model {self._model} returned {len(rows)} embeddings that do not match {expected} texts. "
                "Try again."
            )
        return unit_vectors(f"NIM model {self._model}", rows, self.dimension)
