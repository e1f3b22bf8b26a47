"""Tests of local ONNX embedders: files, pooling, prefixes, long texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mindset.config.build_options import Embedding
from mindset.config.settings import Settings
from mindset.embedding.onnx import OnnxEmbedder
from mindset.embedding.registry import embedding_of, open_embedder
from mindset.errors import ConfigurationError, DimensionMismatch, ProviderUnavailable
from mindset.providers.deadline import Deadline
from tests.onnx_models import VOCABULARY, build_model, unit_table, write_settings


def counts(vector: NDArray[np.float32]) -> dict[str, float]:
    """Return the share of each word in a vector, relative to [CLS]."""
    return {word: round(float(value / vector[1]), 3) for word, value in zip(VOCABULARY, vector, strict=True) if value}


def test_mean_of_the_tokens_is_the_default(tmp_path: Path) -> None:
    embedder = OnnxEmbedder(str(build_model(tmp_path, "tokens", unit_table())))
    assert counts(embedder.embed_passages(["tide boat tide"])[0]) == {"[CLS]": 1, "[SEP]": 1, "tide": 2, "boat": 1}
    assert embedder.model_id == f"onnx:{tmp_path}:{len(VOCABULARY)}"


def test_pooling_by_the_first_token(tmp_path: Path) -> None:
    build_model(tmp_path, "tokens", unit_table())
    write_settings(
        tmp_path, "1_Pooling/config.json", {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    )
    assert counts(OnnxEmbedder(str(tmp_path)).embed_passages(["tide boat"])[0]) == {"[CLS]": 1}


def test_model_that_pools_itself(tmp_path: Path) -> None:
    embedder = OnnxEmbedder(str(build_model(tmp_path, "pooled", unit_table())))
    assert counts(embedder.embed_query("rope")) == {"[CLS]": 1, "[SEP]": 1, "rope": 1}


@pytest.mark.parametrize("passage_key", ["passage", "document"])
def test_prefixes_of_questions_and_passages(tmp_path: Path, passage_key: str) -> None:
    build_model(tmp_path, "tokens", unit_table())
    prompts = {"query": "query: ", passage_key: "passage: "}
    write_settings(tmp_path, "config_sentence_transformers.json", {"prompts": prompts})
    embedder = OnnxEmbedder(str(tmp_path))
    assert "query:" in counts(embedder.embed_query("tide"))
    assert "passage:" in counts(embedder.embed_passages(["tide"])[0])


@pytest.mark.parametrize("limit_in", ["tokenizer", "settings"])
def test_all_of_a_text_counts_that_exceeds_the_model_s_length(tmp_path: Path, limit_in: str) -> None:
    build_model(tmp_path, "tokens", unit_table(), max_tokens=6 if limit_in == "tokenizer" else 100)
    if limit_in == "settings":
        write_settings(tmp_path, "sentence_bert_config.json", {"max_seq_length": 6})
    embedder = OnnxEmbedder(str(tmp_path))
    # Windows of four words: "tide tide tide tide", "boat boat boat boat", "rope".
    found = counts(embedder.embed_passages(["tide " * 4 + "boat " * 4 + "rope"])[0])
    assert found == {"[CLS]": 1, "[SEP]": 1, "tide": 1.333, "boat": 1.333, "rope": 0.333}


def test_a_vector_does_not_depend_on_the_other_texts() -> None:
    embedder = OnnxEmbedder("all-MiniLM-L6-v2")
    texts = ["short", "a longer text about the tide " * 30, "rope"]
    together = embedder.embed_passages(texts)
    for text, vector in zip(texts, together, strict=True):
        np.testing.assert_array_equal(embedder.embed_passages([text])[0], vector)
    embedder.close()


def test_minilm_knows_paraphrases() -> None:
    embedder = OnnxEmbedder("all-MiniLM-L6-v2")
    question = embedder.embed_query("How do I cancel my order?")
    near, far = embedder.embed_passages(["Withdrawing from a purchase", "The order of the alphabet"]) @ question
    assert near > far
    embedder.close()


def test_question_respects_its_deadline(tmp_path: Path) -> None:
    embedder = OnnxEmbedder(str(build_model(tmp_path, "tokens", unit_table())))
    with pytest.raises(ProviderUnavailable, match=r"The local model"):
        embedder.embed_query("tide", Deadline(-1))


def test_configuration_is_recovered_from_the_model_id(tmp_path: Path) -> None:
    folder = str(build_model(tmp_path / "with:colon", "tokens", unit_table()))
    configured = Embedding(provider="onnx", model=folder, dimension=len(VOCABULARY))
    embedder = open_embedder(configured, Settings())
    assert embedding_of(embedder.model_id) == configured
    assert Embedding.model_validate({"provider": "onnx"}) == Embedding(
        provider="onnx", model="all-MiniLM-L6-v2", dimension=384
    )


def test_wrong_dimension_is_refused(tmp_path: Path) -> None:
    folder = str(build_model(tmp_path, "tokens", unit_table()))
    with pytest.raises(DimensionMismatch, match=f"Set embedding.dimension to {len(VOCABULARY)}"):
        open_embedder(Embedding(provider="onnx", model=folder, dimension=12), Settings())


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no model.onnx and no tokenizer.json"):
        OnnxEmbedder(str(tmp_path))
    build_model(tmp_path, "tokens", unit_table())
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(ConfigurationError, match=r"has no tokenizer.json"):
        OnnxEmbedder(str(tmp_path))


@pytest.mark.parametrize("name", ["/no/such/folder", "no_such_package", "no such package", "json"])
def test_unknown_model_is_an_error_that_says_what_is_possible(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"embedding.model.*model\.onnx"):
        OnnxEmbedder(name)


@pytest.mark.parametrize("file", ["model.onnx", "tokenizer.json"])
def test_damaged_file_is_an_error(tmp_path: Path, file: str) -> None:
    build_model(tmp_path, "tokens", unit_table())
    (tmp_path / file).write_bytes(b"damaged")
    with pytest.raises(ConfigurationError, match=r"cannot be loaded"):
        OnnxEmbedder(str(tmp_path))


@pytest.mark.parametrize("content", [[1], {"prompts": "query: "}])
def test_damaged_settings_are_an_error(tmp_path: Path, content: object) -> None:
    build_model(tmp_path, "tokens", unit_table())
    write_settings(tmp_path, "config_sentence_transformers.json", content)
    with pytest.raises(ConfigurationError, match=r"config_sentence_transformers.json|not contain an object"):
        OnnxEmbedder(str(tmp_path))


def test_installed_package_with_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = build_model(tmp_path / "harbour_model", "tokens", unit_table())
    (package / "__init__.py").write_text("raise RuntimeError('must not be imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert OnnxEmbedder("harbour_model").dimension == len(VOCABULARY)
