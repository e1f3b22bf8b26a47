"""Tests of local ONNX cross-encoders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from mindset.config.retrieval_options import Reranking
from mindset.config.settings import Settings
from mindset.errors import ConfigurationError, ProviderUnavailable
from mindset.providers.deadline import Deadline
from mindset.reranking.registry import open_reranker
from tests.onnx_models import build_model, score_table, unit_table


def options(folder: Path) -> Reranking:
    return Reranking(provider="onnx", model=str(folder))


def test_texts_are_ordered_by_the_score_of_the_pair(tmp_path: Path) -> None:
    build_model(tmp_path, "score", score_table(tide=2, boat=1, rope=-1))
    reranker = open_reranker(options(tmp_path), Settings())
    assert reranker.rank("salt", ["rope", "boat tide", "boat", "rope", "tide"], Deadline(60)) == [1, 4, 2, 0, 3]
    assert reranker.rank("salt", [], Deadline(60)) == []
    reranker.close()


def test_a_long_text_is_cut_and_the_question_is_kept(tmp_path: Path) -> None:
    build_model(tmp_path, "score", score_table(tide=1), max_tokens=8, inputs=["attention_mask", "token_type_ids"])
    reranker = open_reranker(options(tmp_path), Settings())
    # Three of eight tokens are marks and one is the question, so four words of each text are read.
    assert reranker.rank("salt", ["boat boat boat boat tide tide", "tide boat"], Deadline(60)) == [1, 0]


def test_deadline(tmp_path: Path) -> None:
    reranker = open_reranker(options(build_model(tmp_path, "score", score_table(tide=1))), Settings())
    with pytest.raises(ProviderUnavailable, match=r"The local model"):
        reranker.rank("salt", ["tide", "boat"], Deadline(-1))


@pytest.mark.parametrize(("output", "table"), [("tokens", unit_table()), ("pooled", np.ones((9, 2), dtype=np.float32))])
def test_model_without_a_score_is_refused(tmp_path: Path, output: str, table: NDArray[np.float32]) -> None:
    with pytest.raises(ConfigurationError, match="Use a cross-encoder"):
        open_reranker(options(build_model(tmp_path, output, table)), Settings())


def test_model_is_required() -> None:
    with pytest.raises(ValidationError, match="onnx has no default model"):
        Reranking.model_validate({"provider": "onnx"})
