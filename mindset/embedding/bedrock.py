"""Embedding models on Amazon Bedrock: Amazon Titan and Cohere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mindset.embedding.protocol import ModelId, Vectors
from mindset.embedding.vectors import empty_vectors, unit_vectors
from mindset.errors import ConfigurationError, ProviderUnavailable
from mindset.providers import bedrock_client
from mindset.providers.deadline import Deadline, retry_call

_COHERE_TEXTS = 96

_Purpose = Literal["search_document", "search_query"]


class BedrockEmbedder:
    """An embedder for Titan Text Embeddings V2 and Cohere Embed v3. Thread-safe.

    `deadline_s` limits one call of the model including its retries. Raises ConfigurationError for any other model."""

    def __init__(
        self,
        model: str,
        dimension: int,
        *,
        region: str = "us-east-1",
        url: str | None = None,
        concurrency: int = 8,
        deadline_s: float = 60.0,
    ) -> None:
        if "amazon.titan-embed-text-v2" in model:
            self._batch = 1
        elif "cohere.embed-" in model and "-v3" in model:
            self._batch = _COHERE_TEXTS
        else:
            raise ConfigurationError(
                f"embedding.model {model!r} is not a supported embedding model of Bedrock. "
                "Use amazon.titan-embed-text-v2:0, cohere.embed-english-v3 or cohere.embed-multilingual-v3."
            )
        self.model_id = ModelId(f"bedrock:{model}:{dimension}")
        self.dimension = dimension
        self._model = model
        self._deadline_s = deadline_s
        self._client = bedrock_client.open_client(region, url, deadline_s, connections=concurrency)
        self._query_clients = bedrock_client.Clients(region, url, connections=concurrency)
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="bedrock-embed")

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            return empty_vectors(self.dimension)
        batches = [texts[at : at + self._batch] for at in range(0, len(texts), self._batch)]
        return np.concatenate(list(self._pool.map(lambda batch: self._embed(batch, "search_document"), batches)))

    def embed_query(self, text: str, deadline: Deadline | None = None) -> NDArray[np.float32]:
        vector: NDArray[np.float32] = self._embed([text], "search_query", deadline)[0]
        return vector

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._client.close()
        self._query_clients.close()

    def _embed(self, texts: Sequence[str], purpose: _Purpose, deadline: Deadline | None = None) -> Vectors:
        body = json.dumps(self._request(texts, purpose))
        limit = deadline or Deadline(self._deadline_s)

        def attempt() -> Vectors:
            client = self._query_clients.with_timeout(limit.seconds_left()) if deadline else self._client
            with bedrock_client.translate_errors(self._model):
                response = client.invoke_model(
                    modelId=self._model, body=body, contentType="application/json", accept="application/json"
                )
                return self._vectors(response["body"].read(), len(texts))

        return retry_call(attempt, limit)

    def _request(self, texts: Sequence[str], purpose: _Purpose) -> dict[str, object]:
        if self._batch == 1:
            return {"inputText": texts[0], "dimensions": self.dimension, "normalize": True}
        # NONE: Cohere reports a text that is too long. Truncated silently, only its beginning could be found.
        return {"texts": list(texts), "input_type": purpose, "truncate": "NONE"}

    def _vectors(self, body: bytes, expected: int) -> Vectors:
        try:
            response = json.loads(body)
            rows = [response["embedding"]] if self._batch == 1 else list(response["embeddings"])
        except (KeyError, TypeError, ValueError) as error:
            raise ProviderUnavailable(
                f"Bedrock model {self._model} returned no embeddings ({type(error).__name__}). Try again."
            ) from error
        if len(rows) != expected:
            raise ProviderUnavailable(
                f"Bedrock model {self._model} returned {len(rows)} embeddings for {expected} texts. Try again."
            )
        return unit_vectors(f"Bedrock model {self._model}", rows, self.dimension)
