"""Open the embedder that a knowledge base's configuration or a model id names."""

from __future__ import annotations

import threading

from mindset.config.build_options import Embedding
from mindset.config.settings import Settings
from mindset.embedding.protocol import Embedder, ModelId
from mindset.errors import ConfigurationError, DimensionMismatch


def model_id(embedding: Embedding) -> ModelId:
    """Return the id under which the vectors of the configured model are stored."""
    return ModelId(f"{embedding.provider}:{embedding.model}:{embedding.dimension}")


def embedding_of(model: ModelId) -> Embedding:
    """Return the configuration of a stored model id. A version is queried with the model that it was built with."""
    provider, _, rest = model.partition(":")
    name, _, dimension = rest.rpartition(":")
    return Embedding.model_validate({"provider": provider, "model": name, "dimension": int(dimension)})


def default_dense_weight(embedding: Embedding) -> float:
    """Return the default weight of dense search: 0.3 for WordLlama, whose vectors are sums of words, otherwise 1.

    Chosen among about sixty fusions by the mean recall@5 over guides, docs and the two corpora of Chroma's chunking
    evaluation: 0.862 with 0.3, 0.826 with 1, with an emulation of Postgres' full-text ranking. There was no held-out
    set, so the gain on other corpora may be smaller. With Postgres, recall@5 on the guides rose from 0.625 to 0.672
    (measured)."""
    return 0.3 if embedding.provider == "wordllama" else 1.0


def open_embedder(embedding: Embedding, settings: Settings) -> Embedder:
    """Return the embedder of a configuration. The caller closes it. Raises ConfigurationError, DimensionMismatch."""
    match embedding.provider:
        case "wordllama":
            from mindset.embedding.wordllama import WordLlamaEmbedder

            embedder: Embedder = WordLlamaEmbedder()
        case "nim":
            from mindset.embedding.nim import NimEmbedder

            embedder = NimEmbedder(settings.nim_url, embedding.model, embedding.dimension, settings.nim_api_key)
        case "bedrock":
            from mindset.embedding.bedrock import BedrockEmbedder

            embedder = BedrockEmbedder(
                embedding.model, embedding.dimension, region=settings.bedrock_region, url=settings.bedrock_url
            )
        case "sentence-transformers":
            from mindset.embedding.sentence_transformers import SentenceTransformerEmbedder

            embedder = SentenceTransformerEmbedder(embedding.model)
    if embedder.dimension != embedding.dimension:
        embedder.close()
        raise DimensionMismatch(
            f"{embedding.provider} model {embedding.model} has {embedder.dimension} dimensions, but the knowledge base "
            f"configures {embedding.dimension}. Set embedding.dimension to {embedder.dimension}."
        )
    return embedder


class EmbedderRegistry:
    """The embedders of a process, opened at their first use. Thread-safe. Close it with `close`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._opened: dict[ModelId, Embedder] = {}

    def get_if_open(self, model: ModelId) -> Embedder | None:
        """Return the embedder of a model, or None if it is not open yet."""
        return self._opened.get(model)

    def get(self, model: ModelId) -> Embedder:
        """Return the embedder of a model. Raises what `open_embedder` raises."""
        with self._lock:
            if model not in self._opened:
                self._opened[model] = open_embedder(embedding_of(model), self._settings)
            return self._opened[model]

    def close(self) -> None:
        """Close all opened embedders."""
        for embedder in self._opened.values():
            embedder.close()


def check_model(embedding: Embedding) -> None:
    """Raise ConfigurationError if the provider does not have the configured model."""
    if embedding.provider == "wordllama" and (embedding.model, embedding.dimension) != ("wordllama", 256):
        raise ConfigurationError(
            f"embedding: the only model of wordllama is `wordllama` with 256 dimensions, not {embedding.model!r} "
            f"with {embedding.dimension}. Remove model and dimension."
        )
