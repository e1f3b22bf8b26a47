"""Tests of the Sentence Transformers embedder with a small random model. They require the extra `gpu`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from mindset.errors import ConfigurationError

torch = pytest.importorskip("torch", reason="the extra gpu is not installed")
pytest.importorskip("sentence_transformers", reason="the extra gpu is not installed")

from benchmarks.embedding import random_model  # noqa: E402  # they import optional packages
from mindset.embedding.sentence_transformers import SentenceTransformerEmbedder  # noqa: E402

TEXTS = [" ".join(f"word{(start + offset) % 50}" for offset in range(1 + start * 7 % 90)) for start in range(60)]

# Tolerance for bfloat16, which has 8 bits of mantissa. With random weights, different texts are nearly as similar, so
# the tests also check which text is nearest.
MIN_COSINE = 0.999


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return random_model(tmp_path_factory.mktemp("models") / "tiny", TEXTS, layers=2, width=64, heads=4)


def test_vector_of_a_text_is_independent_of_its_batch(model: str) -> None:
    embedder = SentenceTransformerEmbedder(model, token_budget=300)
    together = embedder.embed_passages(TEXTS)
    assert together.shape == (len(TEXTS), 64)
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    alone = [embedder.embed_passages([text])[0] for text in TEXTS]
    assert _cosines(together, alone).min() > MIN_COSINE
    assert _nearest(together, alone) == list(range(len(TEXTS)))


def test_question_is_nearest_to_the_same_text(model: str) -> None:
    embedder = SentenceTransformerEmbedder(model)
    questions = [embedder.embed_query(text) for text in TEXTS[:5]]
    assert _nearest(embedder.embed_passages(TEXTS[:5]), questions) == list(range(5))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_bfloat16_on_a_gpu_has_the_same_directions(model: str) -> None:
    on_gpu = SentenceTransformerEmbedder(model).embed_passages(TEXTS)
    assert _cosines(SentenceTransformerEmbedder(model, device="cpu").embed_passages(TEXTS), on_gpu).min() > MIN_COSINE


def test_concurrent_calls_return_their_own_vectors(model: str) -> None:
    embedder = SentenceTransformerEmbedder(model)
    expected = embedder.embed_passages(TEXTS)
    with ThreadPoolExecutor(4) as threads:
        for vectors in threads.map(lambda _: embedder.embed_passages(TEXTS), range(8)):
            assert _nearest(vectors, expected) == list(range(len(TEXTS)))


def test_text_over_the_models_limit_is_truncated(model: str) -> None:
    embedder = SentenceTransformerEmbedder(model)
    full = "word1 " * 600
    one, other, shorter = embedder.embed_passages([full, full + "word2 " * 600, "word1 " * 300 + "word2 " * 300])
    assert one @ other > 1 - 1e-5 > one @ shorter


def test_no_texts_yield_no_vectors(model: str) -> None:
    assert SentenceTransformerEmbedder(model).embed_passages([]).shape == (0, 64)


def test_missing_model_is_reported_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError,
        match=r"embedding\.model '.*nowhere'.*Set it to a model of the Hugging Face Hub, or to a folder",
    ):
        SentenceTransformerEmbedder(str(tmp_path / "nowhere"))


def _nearest(some: ArrayLike, others: ArrayLike) -> list[int]:
    """Return the position of the nearest row of `others` for each row of `some`."""
    nearest: list[int] = np.argmax(np.asarray(some) @ np.asarray(others).T, axis=1).tolist()
    return nearest


def _cosines(some: ArrayLike, others: ArrayLike) -> NDArray[np.float32]:
    cosines: NDArray[np.float32] = np.sum(np.asarray(some) * np.asarray(others), axis=1)
    return cosines
