"""Real servers for every test that wants them: one stack a test worker, a database a test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from mindset.catalog.migrations import migrate
from mindset.installation import Installation, open_installation
from mindset.local.addresses import Addresses
from mindset.local.supervision import local_stack
from mindset.settings import Settings
from tests.corpus import Corpus

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"

needs_shared_data = pytest.mark.skipif(not SHARED_DATA.is_dir(), reason=f"{SHARED_DATA} is missing")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Addresses]:
    """Postgres, Valkey and Chroma, with a migrated template database."""
    with local_stack(tmp_path_factory.mktemp("stack"), services=("postgres", "valkey", "chroma")) as addresses:
        assert addresses.postgres_url
        _execute(addresses.postgres_url, "CREATE DATABASE template_mindset")
        migrate(_database_url(addresses.postgres_url, "template_mindset"))
        yield addresses


@pytest.fixture
def postgres_url(stack: Addresses) -> Iterator[str]:
    """A migrated database of its own."""
    with migrated_database(stack) as url:
        yield url


@contextmanager
def migrated_database(stack: Addresses) -> Iterator[str]:
    """A migrated database, for as long as the block lasts."""
    assert stack.postgres_url
    name = f"test_{uuid.uuid4().hex}"
    _execute(stack.postgres_url, f"CREATE DATABASE {name} TEMPLATE template_mindset")
    yield _database_url(stack.postgres_url, name)
    _execute(stack.postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def settings(stack: Addresses, postgres_url: str, tmp_path: Path) -> Settings:
    """Settings that lead to the test's own database and definitions."""
    definitions = tmp_path / "knowledge_bases"
    definitions.mkdir()
    return Settings(
        directory=tmp_path / "stack",
        knowledge_bases=definitions,
        postgres_url=SecretStr(postgres_url),
        chroma_url=stack.chroma_url,
        redis_url=SecretStr(stack.redis_url or ""),
    )


@pytest.fixture
def installation(settings: Settings) -> Iterator[Installation]:
    """An installation on real servers, with nothing in it."""
    with open_installation(settings) as opened:
        yield opened


@pytest.fixture
def corpus(settings: Settings, tmp_path: Path) -> Corpus:
    """A folder of documents and the definition of a knowledge base over it, both easily changed."""
    return Corpus(tmp_path / "documents", settings.knowledge_bases)


def _database_url(server: str, name: str) -> str:
    return f"{server.rpartition('/')[0]}/{name}"


def _execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL(statement))
