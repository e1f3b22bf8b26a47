"""Reranking of search results: order, visibility, feature flag and failures."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from mindset.answering.feature_flags import use_settings
from mindset.answering.query import Query
from mindset.application import Installation, open_installation
from mindset.auth.caller import ANYONE
from mindset.config.settings import Flags, Settings
from tests.corpus import Corpus, run_night
from tests.providers import Fault, ProviderServer, garbage, hang, status
from tests.providers.fixtures import provider
from tests.served import api_at

__all__ = ["provider"]

QUESTION = "How many rooms has the bakery 3?"
BEST = "How many rooms has the bakery?"


@pytest.fixture
def nim_settings(settings: Settings, provider: ProviderServer) -> Settings:
    return settings.model_copy(update={"nim_url": provider.nim_url, "cache_ttl_s": 0})


@pytest.fixture
def reranked(installation: Installation, corpus: Corpus) -> Corpus:
    corpus.define(retrieval={"rerank": {"candidates": 12}, "deadline_s": 1.5})
    corpus.fill(6)
    corpus.write("best.md", BEST)
    corpus.write("board.md", "---\nacl: [board]\n---\nHow many rooms has the bakery 3 in secret?")
    run_night(installation, corpus.name)
    return corpus


def search(url: str, corpus: Corpus, **fields: Any) -> dict[str, Any]:
    response = httpx.post(
        f"{url}/v1/search", json={"knowledge_base": corpus.name, "question": QUESTION, **fields}, timeout=20
    )
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def test_results_are_in_the_order_of_the_reranker(
    nim_settings: Settings, reranked: Corpus, provider: ProviderServer
) -> None:
    with api_at(nim_settings) as url:
        body = search(url, reranked, limit=3)
        metrics = httpx.get(f"{url}/metrics").text
    assert body["passages"][0]["text"] == BEST
    assert body["degraded"] == []
    assert body["milliseconds"]["rerank"] > 0
    assert sum(len(passage["chunk_ids"]) for passage in body["passages"]) == 3
    assert 'mindset_search_step_seconds_count{step="rerank"} 1.0' in metrics


def test_reranker_receives_a_limited_number_of_visible_candidates(
    nim_settings: Settings, reranked: Corpus, provider: ProviderServer
) -> None:
    with api_at(nim_settings) as url:
        search(url, reranked)
    (ranking,) = [request for request in provider.requests if request.path.endswith("/ranking")]
    assert ranking.body["query"] == {"text": QUESTION}
    assert len(ranking.body["passages"]) == 12
    assert "secret" not in str(ranking.body["passages"])


@pytest.mark.parametrize("fault", [status(503), status(401), garbage(), hang()], ids=lambda fault: fault.kind)
def test_search_falls_back_to_fusion_if_the_reranker_fails(
    nim_settings: Settings, reranked: Corpus, provider: ProviderServer, fault: Fault
) -> None:
    with api_at(nim_settings) as url:
        provider.fail("/ranking", always=fault)
        degraded = search(url, reranked)
        assert degraded["degraded"] == ["rerank"]
        assert "rerank" not in degraded["milliseconds"]
        reranked.define(retrieval={})
        assert search(url, reranked)["passages"] == degraded["passages"]


def test_flag_disables_reranking(nim_settings: Settings, reranked: Corpus, provider: ProviderServer) -> None:
    with api_at(nim_settings.model_copy(update={"flags": Flags(rerank=False)})) as url:
        body = search(url, reranked)
    assert body["degraded"] == []
    assert not [request for request in provider.requests if request.path.endswith("/ranking")]


def test_results_without_reranking_are_not_cached_for_reranked_searches(
    settings: Settings, reranked: Corpus, provider: ProviderServer
) -> None:
    with open_installation(settings.model_copy(update={"nim_url": provider.nim_url})) as opened:
        query = Query(opened.knowledge_base(reranked.name), QUESTION, ANYONE)
        use_settings(Flags(rerank=False))
        without_rerank = opened.answering.search(query)
        use_settings(Flags())
        with_rerank = opened.answering.search(Query(query.kb, QUESTION, ANYONE))
    assert not with_rerank.cached
    assert "rerank" in with_rerank.milliseconds
    assert "rerank" not in without_rerank.milliseconds
