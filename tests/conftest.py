"""Real servers: one local stack per test worker, one database per test."""

from __future__ import annotations

import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from local_stack.addresses import Addresses
from local_stack.supervision import local_stack
from mindset.application import Installation, open_installation
from mindset.catalog.installation import renew_id
from mindset.catalog.migrations import migrate
from mindset.catalog.transactions import WriteConnection
from mindset.config.settings import Settings
from tests.corpus import Corpus

# Show compared values in failed assertions of these modules too. They must not be imported before.
pytest.register_assert_rewrite("tests.faults.invariants", "tests.faults.questions")

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"

_OWN_TEMPORARY_DIRECTORY = pytest.StashKey[Path]()
_PREFIX, _KEPT_S = "mindset-tests-", 24 * 3600

needs_shared_data = pytest.mark.skipif(not SHARED_DATA.is_dir(), reason=f"{SHARED_DATA} is missing")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give each run a temporary directory of its own.

    By default all runs of a user share /tmp/pytest-of-USER, and each new run sets its mode to 0700. If root runs the tests,
    Postgres runs under another account and can then no longer reach its data."""
    if config.option.basetemp is None:  # xdist gives its workers directories below this one
        config.stash[_OWN_TEMPORARY_DIRECTORY] = Path(tempfile.mkdtemp(prefix=_PREFIX))
        config.option.basetemp = str(config.stash[_OWN_TEMPORARY_DIRECTORY])
        for directory in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
            with suppress(FileNotFoundError):  # another run may remove it meanwhile
                if directory.stat().st_mtime < time.time() - _KEPT_S:
                    shutil.rmtree(directory, ignore_errors=True)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Keep the temporary directory of a failed run for a day."""
    failed = exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    if failed and _OWN_TEMPORARY_DIRECTORY in session.config.stash:
        del session.config.stash[_OWN_TEMPORARY_DIRECTORY]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the temporary directory after all processes of the run have ended."""
    if directory := config.stash.get(_OWN_TEMPORARY_DIRECTORY, None):
        shutil.rmtree(directory, ignore_errors=True)


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
    """A migrated database for one test."""
    with migrated_database(stack) as url:
        yield url


@contextmanager
def migrated_database(stack: Addresses) -> Iterator[str]:
    """Create a migrated database, and drop it on exit."""
    assert stack.postgres_url
    name = f"test_{uuid.uuid4().hex}"
    _execute(stack.postgres_url, f"CREATE DATABASE {name} TEMPLATE template_mindset")
    url = _database_url(stack.postgres_url, name)
    with psycopg.connect(url) as connection:
        renew_id(WriteConnection(connection))
    yield url
    _execute(stack.postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def settings(stack: Addresses, postgres_url: str, tmp_path: Path) -> Settings:
    """Settings with the test's own database and definitions."""
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
    """An empty installation on real servers."""
    with open_installation(settings) as installation:
        yield installation


@pytest.fixture
def corpus(settings: Settings, tmp_path: Path) -> Corpus:
    """A folder of documents, and a knowledge base over it."""
    return Corpus(tmp_path / "documents", settings.knowledge_bases)


def _database_url(server: str, name: str) -> str:
    return f"{server.rpartition('/')[0]}/{name}"


def _execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL(statement))
