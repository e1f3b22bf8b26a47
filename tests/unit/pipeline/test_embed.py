"""Tests of finding the texts that a provider rejects."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mindset.embedding.protocol import ModelId, Vectors
from mindset.errors import ProviderRejected
from mindset.pipeline.embed import rejected_texts
from mindset.providers.deadline import Deadline


class StrictEmbedder:
    """Rejects a request that contains one of the given texts, as NIM and Bedrock do, and counts requests."""

    model_id = ModelId("test:strict:1")
    dimension = 1

    def __init__(self, *rejected: str) -> None:
        self._rejected = set(rejected)
        self.requests = 0

    def embed_passages(self, texts: Sequence[str]) -> Vectors:
        self.requests += 1
        if not self._rejected.isdisjoint(texts):
            raise ProviderRejected("Too long.", for_input=True)
        return np.ones((len(texts), 1), np.float32)

    def embed_query(self, text: str, deadline: Deadline | None = None) -> NDArray[np.float32]:
        return np.ones(1, np.float32)

    def close(self) -> None:
        pass


@given(st.sets(st.integers(0, 99)), st.integers(1, 100))
def test_every_rejected_text_is_found_in_order(rejected: set[int], count: int) -> None:
    texts = [f"text {number}" for number in range(count)]
    embedder = StrictEmbedder(*(f"text {number}" for number in rejected))
    assert list(rejected_texts(embedder, texts)) == sorted(number for number in rejected if number < count)


def test_provider_that_rejects_every_request_has_no_rejected_texts() -> None:
    embedder = StrictEmbedder("text", "a", "b")
    assert rejected_texts(embedder, ["a", "b"]) == {}
    assert embedder.requests == 1


@given(st.integers(1, 2_000), st.data())
def test_one_rejected_text_costs_about_two_requests_per_bisection(count: int, data: st.DataObject) -> None:
    embedder = StrictEmbedder(f"text {data.draw(st.integers(0, count - 1))}")
    assert len(list(rejected_texts(embedder, [f"text {number}" for number in range(count)]))) == 1
    assert embedder.requests <= 3 + 2 * math.ceil(math.log2(count))


def test_provider_that_begins_to_reject_every_request_has_no_rejected_texts() -> None:
    """As if the account were closed in the middle of the search."""

    class Revoked(StrictEmbedder):
        def embed_passages(self, texts: Sequence[str]) -> Vectors:
            if self.requests == 3:
                self._rejected |= {"a", "b", "c", "d", "text"}
            return super().embed_passages(texts)

    with pytest.raises(ProviderRejected, match="Too long"):
        rejected_texts(Revoked("d"), ["a", "b", "c", "d"])
