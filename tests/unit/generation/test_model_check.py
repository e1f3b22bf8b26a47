"""Tests of the check of models at startup."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import SecretStr

from mindset.config.knowledge_base import KnowledgeBase
from mindset.config.settings import Settings
from mindset.generation.model_check import ModelProblem, check_models
from tests.providers import ProviderServer, garbage, status

NIM, CLAUDE = "meta/llama-3.1-8b-instruct", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"


def _kb(name: str, **generation: Any) -> KnowledgeBase:
    source = {"kind": "folder", "path": Path("guides")}
    return KnowledgeBase.model_validate({"name": name, "title": name, "sources": [source], "generation": generation})


def _check(
    provider: ProviderServer, *kbs: KnowledgeBase, check: Literal["off", "list", "invoke"] = "invoke"
) -> list[ModelProblem]:
    settings = Settings(
        nim_url=provider.nim_url, nim_api_key=SecretStr("key"), bedrock_url=provider.url, model_check=check
    )
    return check_models(kbs, settings)


def test_usable_models_are_not_reported(provider: ProviderServer) -> None:
    assert not _check(
        provider, _kb("a", provider="nim", model=NIM), _kb("b", provider="bedrock", model=CLAUDE), _kb("c")
    )
    (request,) = (request for request in provider.requests if request.path.endswith("/converse"))
    assert request.body["inferenceConfig"] == {"maxTokens": 1}


def test_unknown_nim_model_is_reported_with_the_served_models(provider: ProviderServer) -> None:
    old = {"provider": "nim", "model": "old/model"}
    (problem,) = _check(provider, _kb("a", **old), _kb("b", provider="nim", model=NIM, fallback=[old]))
    assert (problem.model, problem.knowledge_bases) == ("nim:old/model", ("a", "b"))
    assert "does not serve old/model" in problem.message
    assert NIM in problem.message


@pytest.mark.parametrize(
    ("fault", "remedy"),
    [(status(401), "MINDSET_NIM_API_KEY"), (status(503), "Try again"), (garbage(), "MINDSET_NIM_URL")],
)
def test_nim_that_does_not_list_its_models_is_reported_with_the_remedy(
    provider: ProviderServer, fault: Any, remedy: str
) -> None:
    provider.fail("/models", fault)
    (problem,) = _check(provider, _kb("a", provider="nim", model=NIM))
    assert remedy in problem.message


def test_retired_bedrock_model_is_reported(provider: ProviderServer) -> None:
    (problem,) = _check(provider, _kb("a", provider="bedrock", model="retired-claude"))
    assert "reached the end of its life" in problem.message
    assert "Set the knowledge base's model" in problem.message


def test_bedrock_model_without_permission_is_reported(provider: ProviderServer) -> None:
    provider.fail("/converse", status(403))
    (problem,) = _check(provider, _kb("a", provider="bedrock", model=CLAUDE))
    assert "Enable the model for the account" in problem.message


def test_bedrock_is_checked_only_if_the_setting_allows_it(provider: ProviderServer) -> None:
    kbs = (_kb("a", provider="bedrock", model="retired-claude"), _kb("b", provider="nim", model="old/model"))
    assert [problem.model for problem in _check(provider, *kbs, check="list")] == ["nim:old/model"]
    assert not _check(provider, *kbs, check="off")
    assert [request.path for request in provider.requests] == ["/v1/models"]
