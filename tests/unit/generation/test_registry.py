"""Tests of the registry of generators."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import SecretStr, ValidationError

from mindset.config.generation_options import Generation, GeneratorSpec
from mindset.config.settings import Settings
from mindset.errors import ProviderUnavailable
from mindset.generation.registry import GeneratorRegistry
from mindset.providers.deadline import Deadline
from tests.providers import ProviderServer, status
from tests.unit.generation.passages import passage

NIM, CLAUDE = "meta/llama-3.1-8b-instruct", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
PASSAGES = [passage("Badgers dig setts at night.")]


@pytest.fixture
def generators(provider: ProviderServer) -> Iterator[GeneratorRegistry]:
    settings = Settings(nim_url=provider.nim_url, nim_api_key=SecretStr("key"), bedrock_url=provider.url)
    registry = GeneratorRegistry(settings)
    yield registry
    registry.close()


def _names(generators: GeneratorRegistry, generation: Generation, first: str | None = None) -> list[str]:
    return [generator.name for generator in generators.generator(generation, first).generators]


def test_default_fallback_is_extractive(generators: GeneratorRegistry) -> None:
    assert _names(generators, Generation()) == ["extractive:extractive"]
    assert _names(generators, Generation(provider="nim", model=NIM)) == [f"nim:{NIM}", "extractive:extractive"]
    assert _names(generators, Generation(provider="nim", model=NIM, fallback=())) == [f"nim:{NIM}"]


def test_route_has_the_configured_order(generators: GeneratorRegistry) -> None:
    generation = Generation.model_validate(
        {"provider": "nim", "model": NIM, "fallback": [{"provider": "bedrock"}, {"provider": "extractive"}]}
    )
    assert _names(generators, generation) == [f"nim:{NIM}", f"bedrock:{CLAUDE}", "extractive:extractive"]
    assert _names(generators, generation, "bedrock") == [f"bedrock:{CLAUDE}", f"nim:{NIM}", "extractive:extractive"]


def test_route_has_no_duplicates(generators: GeneratorRegistry) -> None:
    twice = Generation(provider="nim", model=NIM, fallback=(GeneratorSpec(provider="nim", model=NIM), GeneratorSpec()))
    assert _names(generators, twice) == [f"nim:{NIM}", "extractive:extractive"]


def test_knowledge_bases_with_the_same_model_share_its_endpoint(
    generators: GeneratorRegistry, provider: ProviderServer
) -> None:
    provider.fail("/chat/completions", always=status(500))
    short, long = (
        Generation(provider="nim", model=NIM, max_tokens=max_tokens, fallback=()) for max_tokens in (100, 200)
    )
    for _ in range(5):
        with pytest.raises(ProviderUnavailable):
            list(generators.generator(short).stream("When?", PASSAGES, Deadline(0.2)))
    with pytest.raises(ProviderUnavailable, match="in a row"):
        list(generators.generator(long).stream("When?", PASSAGES, Deadline(5)))
    (state,) = generators.states
    assert (state.name, state.breaker, state.in_flight) == (f"nim:{NIM}", "open", 0)


def test_native_citations_require_bedrock(generators: GeneratorRegistry, provider: ProviderServer) -> None:
    native = Generation(provider="bedrock", citations="native", fallback=())
    text = "".join(piece.text for piece in generators.generator(native).stream("Who digs?", PASSAGES, Deadline(5.0)))
    assert text.strip() == "Badgers dig setts at night. [1]"
    assert "searchResult" in provider.requests[-1].body["messages"][0]["content"][0]
    with pytest.raises(ValidationError, match="native requires provider bedrock"):
        Generation(provider="nim", citations="native")
