"""What is told at start of models that cannot be used."""

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


def test_models_that_are_there_are_no_problem(provider: ProviderServer) -> None:
    assert not _check(
        provider, _kb("a", provider="nim", model=NIM), _kb("b", provider="bedrock", model=CLAUDE), _kb("c")
    )
    (asked,) = (each for each in provider.requests if each.path.endswith("/converse"))
    assert asked.body["inferenceConfig"] == {"maxTokens": 1}


def test_a_model_that_the_nim_does_not_serve_is_told_with_those_it_does(provider: ProviderServer) -> None:
    old = {"provider": "nim", "model": "old/model"}
    (problem,) = _check(provider, _kb("a", **old), _kb("b", provider="nim", model=NIM, fallback=[old]))
    assert (problem.model, problem.knowledge_bases) == ("nim:old/model", ("a", "b"))
    assert "does not serve old/model" in problem.message
    assert NIM in problem.message


@pytest.mark.parametrize(
    ("fault", "told"),
    [(status(401), "MINDSET_NIM_API_KEY"), (status(503), "Try again"), (garbage(), "MINDSET_NIM_URL")],
)
def test_a_nim_that_does_not_list_its_models_is_told_with_what_to_do(
    provider: ProviderServer, fault: Any, told: str
) -> None:
    provider.fail("/models", fault)
    (problem,) = _check(provider, _kb("a", provider="nim", model=NIM))
    assert told in problem.message


def test_a_bedrock_model_at_the_end_of_its_life_is_told(provider: ProviderServer) -> None:
    (problem,) = _check(provider, _kb("a", provider="bedrock", model="retired-claude"))
    assert "reached the end of its life" in problem.message
    assert "Set the knowledge base's model" in problem.message


def test_a_bedrock_model_that_the_account_may_not_use_is_told(provider: ProviderServer) -> None:
    provider.fail("/converse", status(403))
    (problem,) = _check(provider, _kb("a", provider="bedrock", model=CLAUDE))
    assert "Enable the model for the account" in problem.message


def test_bedrock_is_asked_only_where_the_setting_allows_what_it_costs(provider: ProviderServer) -> None:
    kbs = (_kb("a", provider="bedrock", model="retired-claude"), _kb("b", provider="nim", model="old/model"))
    assert [each.model for each in _check(provider, *kbs, check="list")] == ["nim:old/model"]
    assert not _check(provider, *kbs, check="off")
    assert [each.path for each in provider.requests] == ["/v1/models"]
