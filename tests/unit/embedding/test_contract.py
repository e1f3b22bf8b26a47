"""Contract test of all embedders."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from mindset.embedding.bedrock import BedrockEmbedder
from mindset.embedding.nim import NimEmbedder
from mindset.embedding.onnx import OnnxEmbedder
from mindset.embedding.protocol import Embedder
from mindset.embedding.wordllama import WordLlamaEmbedder
from tests.providers import ProviderServer

OPEN: dict[str, Callable[[ProviderServer], Embedder]] = {
    "wordllama": lambda _: WordLlamaEmbedder(),
    "onnx": lambda _: OnnxEmbedder("all-MiniLM-L6-v2"),
    "nim": lambda server: NimEmbedder(server.nim_url, "nvidia/llama-nemotron-embed-1b-v2", 2048, batch=20),
    "nim-shortened": lambda server: NimEmbedder(server.nim_url, "nvidia/llama-nemotron-embed-1b-v2", 384, batch=20),
    "titan": lambda server: BedrockEmbedder("amazon.titan-embed-text-v2:0", 512, url=server.url),
    "cohere": lambda server: BedrockEmbedder("cohere.embed-multilingual-v3", 1024, url=server.url),
}


@pytest.fixture(params=sorted(OPEN))
def embedder(request: pytest.FixtureRequest, provider: ProviderServer) -> Iterator[Embedder]:
    opened = OPEN[request.param](provider)
    yield opened
    opened.close()


def test_vectors_are_float32_rows_of_length_1(embedder: Embedder) -> None:
    vectors = embedder.embed_passages(["the moon", "a submarine", "Grüße, 世界"])
    assert vectors.dtype == np.float32
    assert vectors.shape == (3, embedder.dimension)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_vectors_keep_the_order_of_the_texts_across_batches(embedder: Embedder) -> None:
    texts = [f"text number {number} of {number * 7}" for number in range(205)]
    together = embedder.embed_passages(texts)
    assert together.shape == (205, embedder.dimension)
    for position in (0, 19, 20, 95, 96, 204):
        alone = embedder.embed_passages([texts[position]])[0]
        np.testing.assert_allclose(together[position], alone, atol=1e-5)


def test_equal_texts_have_equal_vectors(embedder: Embedder) -> None:
    vectors = embedder.embed_passages(["one", "two", "one"])
    np.testing.assert_array_equal(vectors[0], vectors[2])
    assert not np.allclose(vectors[0], vectors[1])


def test_no_texts_yield_no_vectors(embedder: Embedder) -> None:
    vectors = embedder.embed_passages([])
    assert vectors.shape == (0, embedder.dimension)
    assert vectors.dtype == np.float32


def test_question_has_one_vector_of_length_1(embedder: Embedder) -> None:
    vector = embedder.embed_query("How far is the moon?")
    assert vector.shape == (embedder.dimension,)
    assert vector.dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_model_id_names_provider_model_and_dimension(embedder: Embedder) -> None:
    provider, _, rest = embedder.model_id.partition(":")
    model, _, dimension = rest.rpartition(":")
    assert provider
    assert model
    assert int(dimension) == embedder.dimension
