"""The `mindset migrate` command and the migrations of the schema."""

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
    """Downgrade the schema and yield a connection, which is committed at the end."""
    config = configuration()
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://", 1), poolclass=NullPool)
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)
        yield connection
        connection.commit()


def mindset_migrate(url: str, folder: Path, *options: str) -> tuple[int, str, str]:
    completed = subprocess.run(
        [sys.executable, "-m", "cli.app", "migrate", *options],
        env={"MINDSET_POSTGRES_URL": url, "PYTHONPATH": str(Path(__file__).parents[2]), "HOME": str(folder)},
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return completed.returncode, completed.stdout, completed.stderr


def test_command_reports_the_revisions_before_and_after(empty_url: str, tmp_path: Path) -> None:
    code, output, _ = mindset_migrate(empty_url, tmp_path, "--json")
    newest = json.loads(output)["after"]
    assert (code, json.loads(output)) == (0, {"before": None, "after": newest})
    check(empty_url)
    assert mindset_migrate(empty_url, tmp_path)[:2] == (0, f"The schema is already at {newest}.\n")


def test_unreachable_postgres_is_reported_with_its_own_exit_code(tmp_path: Path) -> None:
    code, _, error = mindset_migrate("postgresql://user@127.0.0.1:9/none", tmp_path)
    assert (code, "Postgres does not answer" in error) == (4, True)


@pytest.mark.parametrize(
    "url", ["postgresql://user:secret@host:port/none", "user:secret@host", "nosuch://user:secret@host"]
)
def test_invalid_postgres_url_is_reported_without_its_password(url: str, tmp_path: Path) -> None:
    code, _, error = mindset_migrate(url, tmp_path)
    assert (code, "MINDSET_POSTGRES_URL is not a valid URL" in error, "secret" in error) == (2, True, False)


def test_schema_of_a_newer_release_is_not_changed(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigurationError, match="at 9999, which this release does not know"):
        migrate(postgres_url)


def test_concurrent_migrations_wait_for_each_other(empty_url: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        migrations = list(threads.map(lambda _: migrate(empty_url), range(4)))
    assert sorted(migration.before is None for migration in migrations) == [False, False, False, True]


def test_error_for_an_outdated_schema_names_the_migrate_command(postgres_url: str) -> None:
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


def test_schema_constant_is_the_newest_revision(empty_url: str) -> None:
    with Catalog(empty_url) as catalog, catalog.reading() as connection:
        assert not is_migrated(connection)
    assert migrate(empty_url).after == SCHEMA


def test_both_url_schemes_of_postgres_are_accepted(postgres_url: str) -> None:
    assert migrate(postgres_url.replace("postgresql://", "postgres://", 1)) == migrate(postgres_url)


def test_metadata_of_an_older_release_is_converted_to_an_object(postgres_url: str) -> None:
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
