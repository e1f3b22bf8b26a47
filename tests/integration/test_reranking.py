"""A reranker in a search: it orders what the caller may see, and is done without where it fails."""

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
def told(settings: Settings, provider: ProviderServer) -> Settings:
    return settings.model_copy(update={"nim_url": provider.nim_url, "cache_ttl_s": 0})


@pytest.fixture
def reranked(installation: Installation, corpus: Corpus) -> Corpus:
    corpus.define(retrieval={"rerank": {"candidates": 12}, "deadline_s": 1.5})
    corpus.fill(6)
    corpus.write("best.md", BEST)
    corpus.write("board.md", "---\nacl: [board]\n---\nHow many rooms has the bakery 3 in secret?")
    run_night(installation, corpus.name)
    return corpus


def found(url: str, corpus: Corpus, **more: Any) -> dict[str, Any]:
    response = httpx.post(
        f"{url}/v1/search", json={"knowledge_base": corpus.name, "question": QUESTION, **more}, timeout=20
    )
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def test_what_the_reranker_puts_first_comes_first(told: Settings, reranked: Corpus, provider: ProviderServer) -> None:
    with api_at(told) as url:
        body = found(url, reranked, limit=3)
        metrics = httpx.get(f"{url}/metrics").text
    assert body["passages"][0]["text"] == BEST
    assert body["degraded"] == []
    assert body["milliseconds"]["rerank"] > 0
    assert sum(len(each["chunk_ids"]) for each in body["passages"]) == 3
    assert 'mindset_search_step_seconds_count{step="rerank"} 1.0' in metrics


def test_it_reads_only_what_the_caller_may_see_and_no_more_than_it_is_to(
    told: Settings, reranked: Corpus, provider: ProviderServer
) -> None:
    with api_at(told) as url:
        found(url, reranked)
    (asked,) = [each for each in provider.requests if each.path.endswith("/ranking")]
    assert asked.body["query"] == {"text": QUESTION}
    assert len(asked.body["passages"]) == 12
    assert "secret" not in str(asked.body["passages"])


@pytest.mark.parametrize("fault", [status(503), status(401), garbage(), hang()], ids=lambda fault: fault.kind)
def test_without_it_the_fusion_decides_and_the_answer_says_so(
    told: Settings, reranked: Corpus, provider: ProviderServer, fault: Fault
) -> None:
    with api_at(told) as url:
        provider.fail("/ranking", always=fault)
        without = found(url, reranked)
        assert without["degraded"] == ["rerank"]
        assert "rerank" not in without["milliseconds"]
        reranked.define(retrieval={})
        assert found(url, reranked)["passages"] == without["passages"]


def test_the_flag_switches_it_off(told: Settings, reranked: Corpus, provider: ProviderServer) -> None:
    with api_at(told.model_copy(update={"flags": Flags(rerank=False)})) as url:
        body = found(url, reranked)
    assert body["degraded"] == []
    assert not [each for each in provider.requests if each.path.endswith("/ranking")]


def test_what_was_found_without_it_is_not_kept_for_who_gets_it(
    settings: Settings, reranked: Corpus, provider: ProviderServer
) -> None:
    with open_installation(settings.model_copy(update={"nim_url": provider.nim_url})) as opened:
        asked = Query(opened.knowledge_base(reranked.name), QUESTION, ANYONE)
        use_settings(Flags(rerank=False))
        without = opened.answering.search(asked)
        use_settings(Flags())
        with_it = opened.answering.search(Query(asked.kb, QUESTION, ANYONE))
    assert not with_it.cached
    assert "rerank" in with_it.milliseconds
    assert "rerank" not in without.milliseconds
