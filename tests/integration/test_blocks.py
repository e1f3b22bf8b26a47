"""Blocks: each tests its connection for real, builds its domain object, and keeps its secrets."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest
from prefect.blocks.core import Block
from prefect.testing.utilities import prefect_test_harness
from prefect_aws import AwsCredentials
from pydantic import SecretStr

from blocks import registry
from blocks.registry import BedrockService, ChromaStore, NimService, ObjectStore, PostgresCatalog, RedisStore
from local_stack.addresses import Addresses
from mindset.catalog.transactions import scalar
from mindset.config.settings import Settings
from mindset.errors import ProviderError, ServiceUnavailable
from tests.providers.server import ProviderServer

pytest_plugins = ["tests.providers.fixtures"]

ALL: list[type[Block]] = [each for _, each in inspect.getmembers(registry, inspect.isclass) if issubclass(each, Block)]


def test_postgres_tests_itself_and_opens_a_catalog(postgres_url: str) -> None:
    block = PostgresCatalog(url=SecretStr(postgres_url))
    assert block.test_connection().startswith("PostgreSQL 18")
    with block.open() as catalog, catalog.reading() as connection:
        assert scalar(connection, "SELECT count(*) FROM version") == 0
    assert "postgres@" not in repr(block)


def test_postgres_that_is_not_there_is_named() -> None:
    with pytest.raises(ServiceUnavailable, match="Postgres"):
        PostgresCatalog(url=SecretStr("postgresql://nobody@127.0.0.1:9/none")).test_connection()


def test_chroma_and_redis_test_themselves(stack: Addresses) -> None:
    assert stack.chroma_url
    assert stack.redis_url
    assert ChromaStore(url=stack.chroma_url).test_connection().endswith("collections")
    assert RedisStore(url=SecretStr(stack.redis_url)).test_connection().startswith("valkey 9")
    with pytest.raises(ServiceUnavailable, match="Redis does not answer"):
        RedisStore(url=SecretStr("redis://127.0.0.1:9/0")).test_connection()
    with pytest.raises(ServiceUnavailable, match="Chroma does not answer"):
        ChromaStore(url="http://127.0.0.1:9").test_connection()


def test_nim_and_bedrock_test_themselves(provider: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    assert NimService(url=provider.nim_url).test_connection()
    assert BedrockService(url=provider.url).test_connection() == "amazon.titan-embed-text-v2:0: 1024 dimensions"
    with pytest.raises(ProviderError):
        NimService(url="http://127.0.0.1:9/v1").test_connection()


def test_a_bucket_that_cannot_be_listed_is_named() -> None:
    credentials = AwsCredentials(
        aws_access_key_id="test",
        aws_secret_access_key=SecretStr("test"),
        aws_client_parameters={"endpoint_url": "http://127.0.0.1:9", "config": {"retries": {"max_attempts": 0}}},
    )
    with pytest.raises(ServiceUnavailable, match="Bucket pile cannot be listed"):
        ObjectStore(bucket="pile", credentials=credentials).test_connection()


@pytest.mark.parametrize("block", ALL, ids=lambda each: each.__name__)
def test_every_block_has_a_description_a_test_and_a_domain_object(block: type[Block]) -> None:
    assert block.get_description()
    assert block._logo_url
    assert callable(getattr(block, "test_connection", None))
    assert callable(getattr(block, "open", None))


@pytest.mark.parametrize("block", [each for each in ALL if hasattr(each, "settings") and each is not ObjectStore])
def test_what_a_block_replaces_are_settings(block: type[Block]) -> None:
    example = block.model_construct(url="http://x", api_key=None, pool_size=1, region="x")
    assert set(example.settings()) <= set(Settings.model_fields)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def prefect() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=60):
        yield


@pytest.mark.slow
def test_a_flow_is_connected_by_the_names_of_blocks(
    prefect: None, stack: Addresses, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.parameters import Connections
    from flows.runtime import open_flow_installation
    from mindset.errors import ConfigurationError

    monkeypatch.setenv("MINDSET_POSTGRES_URL", "postgresql://nobody@127.0.0.1:9/none")
    PostgresCatalog(url=SecretStr(postgres_url)).save("test")
    with open_flow_installation(Connections(postgres="test")) as opened, opened.catalog.reading() as connection:
        assert scalar(connection, "SELECT 1") == 1
    with pytest.raises(ConfigurationError, match="nowhere"), open_flow_installation(Connections(chroma="nowhere")):
        pass
