"""Blocks: connection tests against real servers, their domain objects and their secrets."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest
from prefect.blocks.core import Block
from prefect.testing.utilities import prefect_test_harness
from pydantic import SecretStr

from blocks import registry
from blocks.registry import BedrockService, ChromaStore, NimService, PostgresCatalog, RedisStore
from local_stack.addresses import Addresses
from mindset.catalog.transactions import scalar
from mindset.config.settings import Settings
from mindset.errors import ProviderError, ServiceUnavailable
from tests.providers.fixtures import provider
from tests.providers.server import ProviderServer

__all__ = ["provider"]

ALL: list[type[Block]] = [
    member for _, member in inspect.getmembers(registry, inspect.isclass) if issubclass(member, Block)
]


def test_postgres_block_tests_its_connection_and_opens_a_catalog(postgres_url: str) -> None:
    block = PostgresCatalog(url=SecretStr(postgres_url))
    assert block.test_connection().startswith("PostgreSQL 18")
    with block.open() as catalog, catalog.reading() as connection:
        assert scalar(connection, "SELECT count(*) FROM version") == 0
    assert "postgres@" not in repr(block)


def test_unreachable_postgres_is_named() -> None:
    with pytest.raises(ServiceUnavailable, match="Postgres"):
        PostgresCatalog(url=SecretStr("postgresql://user@127.0.0.1:9/none")).test_connection()


def test_chroma_and_redis_blocks_test_their_connections(stack: Addresses) -> None:
    assert stack.chroma_url
    assert stack.redis_url
    assert ChromaStore(url=stack.chroma_url).test_connection().endswith("collections")
    assert RedisStore(url=SecretStr(stack.redis_url)).test_connection().startswith("valkey 9")
    with pytest.raises(ServiceUnavailable, match="Redis does not answer"):
        RedisStore(url=SecretStr("redis://127.0.0.1:9/0")).test_connection()
    with pytest.raises(ServiceUnavailable, match="Chroma does not respond"):
        ChromaStore(url="http://127.0.0.1:9").test_connection()


def test_nim_and_bedrock_blocks_test_their_connections(
    provider: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    assert NimService(url=provider.nim_url).test_connection()
    assert BedrockService(url=provider.url).test_connection() == "amazon.titan-embed-text-v2:0: 1024 dimensions"
    with pytest.raises(ProviderError):
        NimService(url="http://127.0.0.1:9/v1").test_connection()


@pytest.mark.parametrize("block", ALL, ids=lambda block: block.__name__)
def test_flows_can_use_every_block(block: type[Block]) -> None:
    from flows.parameters import Connections

    titles = {field.title for field in Connections.model_fields.values()}
    assert f"{block.get_block_type_name()} block" in titles


@pytest.mark.parametrize("block", ALL, ids=lambda block: block.__name__)
def test_every_block_has_a_description_a_test_and_a_domain_object(block: type[Block]) -> None:
    assert block.get_description()
    assert block._logo_url
    assert callable(getattr(block, "test_connection", None))
    assert callable(getattr(block, "open", None))


@pytest.mark.parametrize("block", ALL, ids=lambda block: block.__name__)
def test_block_overrides_only_existing_settings(block: type[Block]) -> None:
    example = block.model_construct(url="http://x", api_key=None, pool_size=1, region="x")
    assert set(example.settings()) <= set(Settings.model_fields)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def prefect() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=60):
        yield


@pytest.mark.slow
def test_flow_uses_the_blocks_that_its_parameters_name(
    prefect: None, stack: Addresses, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.parameters import Connections
    from flows.runtime import open_flow_installation
    from mindset.errors import ConfigurationError

    monkeypatch.setenv("MINDSET_POSTGRES_URL", "postgresql://user@127.0.0.1:9/none")
    PostgresCatalog(url=SecretStr(postgres_url)).save("test")
    RedisStore(url=SecretStr(stack.redis_url or "")).save("test")
    connections = Connections(postgres="test", redis="test")
    with open_flow_installation(connections) as opened, opened.catalog.reading() as connection:
        assert scalar(connection, "SELECT 1") == 1
        assert opened.redis and opened.redis.execute(lambda client: client.ping())
    with pytest.raises(ConfigurationError, match="nowhere"), open_flow_installation(Connections(chroma="nowhere")):
        pass
