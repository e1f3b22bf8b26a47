"""Open the embedder that a knowledge base's configuration or a model id names."""

from __future__ import annotations

from mindset.config.build_options import Embedding
from mindset.config.settings import Settings
from mindset.embedding.protocol import Embedder, ModelId
from mindset.errors import ConfigurationError, DimensionMismatch
from mindset.providers.opened import OpenedOnce


def model_id(embedding: Embedding) -> ModelId:
    """Return the id under which the vectors of the configured model are stored."""
    return ModelId(f"{embedding.provider}:{embedding.model}:{embedding.dimension}")


def embedding_of(model: ModelId) -> Embedding:
    """Return the configuration of a stored model id. A version is queried with the model that it was built with."""
    provider, _, rest = model.partition(":")
    name, _, dimension = rest.rpartition(":")
    return Embedding.model_validate({"provider": provider, "model": name, "dimension": int(dimension)})


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
        case "onnx":
            from mindset.embedding.onnx import OnnxEmbedder

            embedder = OnnxEmbedder(embedding.model)
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
        self._opened = OpenedOnce[ModelId, Embedder](lambda model: open_embedder(embedding_of(model), settings))

    def get_if_open(self, model: ModelId) -> Embedder | None:
        """Return the embedder of a model, or None if it is not open yet."""
        return self._opened.get_if_open(model)

    def get(self, model: ModelId, timeout_s: float | None = None) -> Embedder:
        """Return the embedder of a model. Raises what `open_embedder` raises.

        Raises ServiceUnavailable if another thread is still loading it after `timeout_s`."""
        return self._opened.get(model, timeout_s)

    def close(self) -> None:
        """Close all opened embedders."""
        self._opened.close()


def check_model(embedding: Embedding) -> None:
    """Raise ConfigurationError if the provider does not have the configured model."""
    if embedding.provider == "wordllama" and (embedding.model, embedding.dimension) != ("wordllama", 256):
        raise ConfigurationError(
            f"embedding: the only model of wordllama is `wordllama` with 256 dimensions, not {embedding.model!r} "
            f"with {embedding.dimension}. Remove model and dimension."
        )
