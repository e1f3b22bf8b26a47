"""Tests of batches for a GPU."""

from __future__ import annotations

import builtins
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mindset.embedding.batches import plan_batches
from mindset.embedding.sentence_transformers import SentenceTransformerEmbedder
from mindset.errors import ConfigurationError


@settings(deadline=None)
@given(st.lists(st.integers(0, 600)), st.integers(1, 2000))
def test_every_text_is_in_one_batch_and_no_batch_exceeds_the_budget(lengths: list[int], budget: int) -> None:
    batches = plan_batches(lengths, budget)
    assert sorted(position for batch in batches for position in batch) == list(range(len(lengths)))
    for batch in batches:
        cost = max(lengths[position] for position in batch) * len(batch)
        assert cost <= budget or len(batch) == 1


def test_texts_of_equal_length_share_a_batch_and_the_longest_come_first() -> None:
    assert plan_batches([10, 100, 10, 100], budget=200) == [[1, 3], [0, 2]]


def test_missing_extra_is_reported_with_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    original_import = builtins.__import__

    def without_torch(name: str, *args: Any, **kwargs: Any) -> object:
        if name in {"torch", "sentence_transformers"}:
            raise ImportError(name)
        return original_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_torch)
    with pytest.raises(ConfigurationError, match=r"pip install product-mindset\[gpu\]"):
        SentenceTransformerEmbedder("BAAI/bge-small-en-v1.5")
