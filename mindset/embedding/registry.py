"""From a knowledge base's configuration, or a model's id, to its embedder."""

from __future__ import annotations

import threading

from mindset.config.build_options import Embedding
from mindset.config.settings import Settings
from mindset.embedding.protocol import Embedder, ModelId
from mindset.errors import ConfigurationError, DimensionMismatch


def model_id(embedding: Embedding) -> ModelId:
    """The id under which the configured model's vectors are stored."""
    return ModelId(f"{embedding.provider}:{embedding.model}:{embedding.dimension}")


def embedding_of(model: ModelId) -> Embedding:
    """The configuration that a stored model id stands for: a version is queried with the model it was built with."""
    provider, _, rest = model.partition(":")
    name, _, dimension = rest.rpartition(":")
    return Embedding.model_validate({"provider": provider, "model": name, "dimension": int(dimension)})


def default_dense_weight(embedding: Embedding) -> float:
    """Weight of dense search where a definition names none: 0.3 for WordLlama, whose vectors are sums of words, else 1.

    Chosen from about sixty fusions by the mean recall@5 over guides, docs and the two corpora of Chroma's chunking
    evaluation: 0.862 at 0.3, 0.826 at 1, with the full-text ranking imitated outside Postgres. No set was held out, so
    the gain elsewhere may be smaller; through Postgres recall@5 on the guides went from 0.625 to 0.672 (measured).
    """
    return 0.3 if embedding.provider == "wordllama" else 1.0


def open_embedder(embedding: Embedding, settings: Settings) -> Embedder:
    """The embedder of a configuration; the caller closes it. Raises ConfigurationError, DimensionMismatch."""
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
            f"{embedding.provider} model {embedding.model} gives {embedder.dimension} dimensions, and the knowledge base "
            f"says {embedding.dimension}. Set embedding.dimension to {embedder.dimension}."
        )
    return embedder


class EmbedderRegistry:
    """The embedders of a process, opened at their first use. Thread-safe. Close it with `close`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._opened: dict[ModelId, Embedder] = {}

    def get_if_open(self, model: ModelId) -> Embedder | None:
        """Return the embedder of a model if it is open already."""
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
    """Raise ConfigurationError where provider and model cannot belong together."""
    if embedding.provider == "wordllama" and (embedding.model, embedding.dimension) != ("wordllama", 256):
        raise ConfigurationError(
            f"embedding: wordllama has one model, `wordllama` of 256 dimensions, not {embedding.model!r} "
            f"of {embedding.dimension}. Leave model and dimension out."
        )
