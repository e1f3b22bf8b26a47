"""Contract test of all rerankers."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from mindset.config.retrieval_options import Reranking
from mindset.config.settings import Settings
from mindset.errors import ProviderError, ProviderRejected, ProviderUnavailable
from mindset.providers.deadline import Deadline
from mindset.reranking.protocol import Reranker
from mindset.reranking.registry import open_reranker
from tests.providers import Fault, ProviderServer, drip, garbage, hang, status
from tests.providers.fixtures import provider

__all__ = ["provider"]

TEXTS = ["Foxes sleep all day long in the wood.", "Badgers dig setts.", "When badgers dig, worms flee."]
QUESTION = "When do badgers dig?"
MODELS = {
    "nim": Reranking(),
    "cohere": Reranking(provider="bedrock"),
    "amazon": Reranking(provider="bedrock", model="amazon.rerank-v1:0"),
}
PATH = {"nim": "/ranking", "cohere": "/invoke", "amazon": "/invoke"}


@pytest.fixture(params=sorted(MODELS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def reranker(kind: str, provider: ProviderServer) -> Iterator[Reranker]:
    opened = open_reranker(MODELS[kind], Settings(nim_url=provider.nim_url, bedrock_url=provider.url))
    yield opened
    opened.close()


def test_best_text_comes_first_and_all_texts_are_ranked(reranker: Reranker) -> None:
    assert reranker.rank(QUESTION, TEXTS, Deadline(5)) == [1, 2, 0]


def test_ties_keep_their_order(reranker: Reranker) -> None:
    assert reranker.rank(QUESTION, ["Foxes sleep."] * 5, Deadline(5)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (status(500), ProviderUnavailable),
        (status(429), ProviderUnavailable),
        (status(403), ProviderRejected),
        (garbage(), ProviderUnavailable),
        (hang(), ProviderUnavailable),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_fault_is_reported_within_the_deadline_and_not_retried(
    reranker: Reranker, kind: str, provider: ProviderServer, fault: Fault, expected: type[ProviderError]
) -> None:
    provider.fail(PATH[kind], always=fault)
    started = time.monotonic()
    with pytest.raises(expected):
        reranker.rank(QUESTION, TEXTS, Deadline(1.0))
    assert time.monotonic() - started < 3
    assert len(provider.requests) == 1, "a search has no time for a retry"


def test_slow_response_ends_at_the_deadline(provider: ProviderServer) -> None:
    reranker = open_reranker(Reranking(), Settings(nim_url=provider.nim_url))
    provider.fail("/ranking", drip(0.1))
    started = time.monotonic()
    with pytest.raises(ProviderUnavailable):
        reranker.rank(QUESTION, TEXTS, Deadline(0.5))
    assert time.monotonic() - started < 5
    reranker.close()


def test_circuit_opens_after_five_failures(reranker: Reranker, kind: str, provider: ProviderServer) -> None:
    provider.fail(PATH[kind], always=status(503))
    for _ in range(8):
        with pytest.raises(ProviderUnavailable):
            reranker.rank(QUESTION, TEXTS, Deadline(1.0))
    assert len(provider.requests) == 5


@pytest.mark.parametrize(
    "rankings",
    [
        [{"index": 0, "logit": 1.0}],
        [{"index": 0, "logit": 1.0}] * 3,
        [{"index": number, "logit": 1.0} for number in (1, 2, 3)],
        [{"index": "first", "logit": 1.0}],
        {"index": 0},
    ],
    ids=["missing texts", "duplicates", "unknown indexes", "not a number", "not a list"],
)
def test_invalid_ranking_is_unavailable(provider: ProviderServer, rankings: object) -> None:
    provider.rankings = rankings
    reranker = open_reranker(Reranking(), Settings(nim_url=provider.nim_url))
    with pytest.raises(ProviderUnavailable, match="rank"):
        reranker.rank(QUESTION, TEXTS, Deadline(5))
    reranker.close()
