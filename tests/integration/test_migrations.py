"""Migrating by command."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from alembic import command
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from mindset.catalog.migrations import check, configuration, migrate
from mindset.catalog.pool import Catalog
from mindset.catalog.releases import version_snapshot
from mindset.catalog.schema_revision import SCHEMA, is_migrated
from mindset.errors import ConfigurationError, ServiceUnavailable


@pytest.fixture
def empty_url(postgres_url: str) -> str:
    """A database without a schema."""
    with psycopg.connect(postgres_url) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return postgres_url


@contextmanager
def downgraded(url: str, revision: str) -> Iterator[Connection]:
    """A connection to a database whose schema was taken back; committed at the end."""
    config = configuration()
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1), poolclass=NullPool)
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)
        yield connection
        connection.commit()


def mindset_migrate(url: str, folder: Path, *options: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "cli.app", "migrate", *options],
        env={"MINDSET_POSTGRES_URL": url, "PYTHONPATH": str(Path(__file__).parents[2]), "HOME": str(folder)},
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_the_command_migrates_and_says_from_where_to_where(empty_url: str, tmp_path: Path) -> None:
    code, told, _ = mindset_migrate(empty_url, tmp_path, "--json")
    newest = json.loads(told)["after"]
    assert (code, json.loads(told)) == (0, {"before": None, "after": newest})
    check(empty_url)
    assert mindset_migrate(empty_url, tmp_path)[:2] == (0, f"The schema is already at {newest}.\n")


def test_a_postgres_that_is_not_there_is_named_with_its_exit_code(tmp_path: Path) -> None:
    code, _, told = mindset_migrate("postgresql://nobody@127.0.0.1:9/none", tmp_path)
    assert (code, "Postgres does not answer" in told) == (4, True)


@pytest.mark.parametrize(
    "url", ["postgresql://user:secret@host:port/none", "user:secret@host", "nosuch://user:secret@host"]
)
def test_what_is_no_address_of_postgres_is_told_without_its_password(url: str, tmp_path: Path) -> None:
    code, _, told = mindset_migrate(url, tmp_path)
    assert (code, "MINDSET_POSTGRES_URL is not a valid URL" in told, "secret" in told) == (2, True, False)


def test_a_schema_of_a_newer_release_is_left_as_it_is(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigurationError, match="at 9999, which this release does not know"):
        migrate(postgres_url)


def test_two_that_migrate_at_once_wait_for_each_other(empty_url: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(lambda _: migrate(empty_url), range(4)))
    assert sorted(each.before is None for each in done) == [False, False, False, True]


def test_a_schema_of_an_older_release_is_told_with_the_command_that_mends_it(postgres_url: str) -> None:
    with downgraded(postgres_url, "0002"):
        pass
    with Catalog(postgres_url) as catalog:
        with catalog.reading() as reading:
            assert not is_migrated(reading)
        with pytest.raises(ServiceUnavailable, match=r"column r.replaced_at does not exist\. Run `mindset migrate`"):
            catalog.read_once(lambda connection: version_snapshot(connection, "kb"))
        migrate(postgres_url)
        with catalog.reading() as reading:
            assert is_migrated(reading)


def test_this_release_names_the_newest_schema(empty_url: str) -> None:
    with Catalog(empty_url) as catalog, catalog.reading() as connection:
        assert not is_migrated(connection)
    assert migrate(empty_url).after == SCHEMA


def test_both_names_of_the_protocol_are_understood(postgres_url: str) -> None:
    assert migrate(postgres_url.replace("postgresql://", "postgres://", 1)) == migrate(postgres_url)


def test_metadata_of_an_older_release_becomes_an_object(postgres_url: str) -> None:
    with downgraded(postgres_url, "0003") as connection:
        connection.execute(text("INSERT INTO knowledge_base (name) VALUES ('kb')"))
        connection.execute(text("INSERT INTO document (kb, uri, etag, acl) VALUES ('kb', 'a.md', '', '{*}')"))
        connection.execute(
            text(
                "INSERT INTO revision (kb, uri, content_hash, media_type, title, metadata, text) "
                "VALUES ('kb', 'a.md', '1', 'text/plain', 'A', to_jsonb(CAST(:metadata AS text)), 'text')"
            ),
            {"metadata": '{"team": "search"}'},
        )
    migrate(postgres_url)
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT metadata FROM revision").fetchall() == [({"team": "search"},)]
