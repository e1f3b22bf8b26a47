"""Sentence Transformers, by a small model with random weights; only where the extra `gpu` is installed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from mindset.errors import ConfigurationError

torch = pytest.importorskip("torch", reason="the extra gpu is not installed")
pytest.importorskip("sentence_transformers", reason="the extra gpu is not installed")

from benchmarks.embedding import random_model  # noqa: E402  # they import what may be missing
from mindset.embedding.sentence_transformers import SentenceTransformerEmbedder  # noqa: E402

TEXTS = [" ".join(f"word{(start + each) % 50}" for each in range(1 + start * 7 % 90)) for start in range(60)]

# What a row of bfloat16 may differ from float32's by: 8 bits of mantissa through a few layers. With random weights different
# texts are nearly as alike, so that a cosine alone says little.
LEAST_COSINE = 0.999


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return random_model(tmp_path_factory.mktemp("models") / "tiny", TEXTS, layers=2, width=64, heads=4)


def test_each_text_gets_its_own_unit_vector_whatever_it_is_embedded_with(model: str) -> None:
    embedder = SentenceTransformerEmbedder(model, token_budget=300)
    together = embedder.embed_passages(TEXTS)
    assert together.shape == (len(TEXTS), 64)
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    alone = [embedder.embed_passages([text])[0] for text in TEXTS]
    assert _cosines(together, alone).min() > LEAST_COSINE
    assert _nearest(together, alone) == list(range(len(TEXTS)))


def test_a_question_lies_where_the_same_text_does(model: str) -> None:
    embedder = SentenceTransformerEmbedder(model)
    asked = [embedder.embed_query(text) for text in TEXTS[:5]]
    assert _nearest(embedder.embed_passages(TEXTS[:5]), asked) == list(range(5))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu_half_the_precision_gives_the_same_directions(model: str) -> None:
    on_gpu = SentenceTransformerEmbedder(model).embed_passages(TEXTS)
    assert _cosines(SentenceTransformerEmbedder(model, device="cpu").embed_passages(TEXTS), on_gpu).min() > LEAST_COSINE


def test_threads_do_not_mix_their_texts(model: str) -> None:
    embedder = SentenceTransformerEmbedder(model)
    expected = embedder.embed_passages(TEXTS)
    with ThreadPoolExecutor(4) as threads:
        for vectors in threads.map(lambda _: embedder.embed_passages(TEXTS), range(8)):
            assert _nearest(vectors, expected) == list(range(len(TEXTS)))


def test_a_text_over_the_models_limit_is_cut_by_it(model: str) -> None:
    embedder = SentenceTransformerEmbedder(model)
    full = "word1 " * 600
    one, other, shorter = embedder.embed_passages([full, full + "word2 " * 600, "word1 " * 300 + "word2 " * 300])
    assert one @ other > 1 - 1e-5 > one @ shorter


def test_nothing_has_no_vectors(model: str) -> None:
    assert SentenceTransformerEmbedder(model).embed_passages([]).shape == (0, 64)


def test_a_model_that_is_not_there_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"embedding\.model '.*nowhere'.*Name a model of the hub, or a folder"):
        SentenceTransformerEmbedder(str(tmp_path / "nowhere"))


def _nearest(some: ArrayLike, others: ArrayLike) -> list[int]:
    """For each, which of the others is most like it."""
    found: list[int] = np.argmax(np.asarray(some) @ np.asarray(others).T, axis=1).tolist()
    return found


def _cosines(some: ArrayLike, others: ArrayLike) -> NDArray[np.float32]:
    products: NDArray[np.float32] = np.sum(np.asarray(some) * np.asarray(others), axis=1)
    return products
