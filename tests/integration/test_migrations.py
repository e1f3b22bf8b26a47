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
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.pool import NullPool

from mindset.catalog import migrations
from mindset.catalog.migrations import check, configuration, migrate
from mindset.catalog.migrations.online import create_index
from mindset.catalog.pool import Catalog
from mindset.catalog.releases import version_snapshot
from mindset.catalog.schema_revision import SCHEMA, is_migrated
from mindset.catalog.transactions import scalar
from mindset.errors import ConfigurationError, ServiceUnavailable
from tests.waiting import wait_until


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


def test_index_is_built_once_although_an_older_transaction_is_open(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "_LOCK_TIMEOUT_MS", 10)
    with downgraded(postgres_url, "0001"):
        pass
    with (
        psycopg.connect(postgres_url, autocommit=True) as observer,
        psycopg.connect(postgres_url) as backup,
        ThreadPoolExecutor(1) as thread,
    ):
        backup.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        backup.execute("SELECT 1")
        migrated = thread.submit(migrate, postgres_url, 0)

        def waiting_index() -> list[tuple[int]]:
            return observer.execute(
                "SELECT index_relid FROM pg_stat_progress_create_index WHERE phase = 'waiting for old snapshots'"
            ).fetchall()

        try:
            wait_until(lambda: migrated.done() or waiting_index())
            index = waiting_index()
            for _ in range(20):
                observer.execute("SELECT pg_sleep(0.01)")  # longer than the timeout in all
                assert waiting_index() == index != []
        finally:
            backup.rollback()
        assert migrated.result().after == SCHEMA
        assert observer.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = %s", [index[0][0]]).fetchall() == [
            (True,)
        ]


def test_lock_timeout_of_a_migration_is_restored_after_an_index(postgres_url: str) -> None:
    engine = create_engine(postgres_url.replace("postgresql://", "postgresql+psycopg://", 1), poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text("SET lock_timeout = '7s'"))
        connection.commit()
        context = MigrationContext.configure(connection)
        with context.begin_transaction(), Operations.context(context):
            create_index("ix_test", "document", "removed_at")
            with pytest.raises(ProgrammingError):
                create_index("ix_test_2", "document", "no_such_column")
        assert connection.execute(text("SHOW lock_timeout")).scalar() == "7s"


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


@pytest.mark.parametrize(("revision", "table"), [("0004", "placement"), ("0001", "segment")])
def test_migration_behind_a_backup_does_not_block_questions(postgres_url: str, revision: str, table: str) -> None:
    """A long reader holds its lock. A statement that waited for an exclusive lock would block all later readers."""
    with downgraded(postgres_url, revision):
        pass
    with ThreadPoolExecutor(1) as thread, psycopg.connect(postgres_url, application_name="pg_dump") as backup:
        backup.execute(f"LOCK TABLE {table}, knowledge_base IN ACCESS SHARE MODE")
        migration = thread.submit(migrate, postgres_url)
        attempts: set[object] = set()
        with psycopg.connect(postgres_url, autocommit=True, options="-c statement_timeout=20s") as question:
            while len(attempts) < 3 and not migration.done():
                question.execute(f"SELECT count(*) FROM {table}")
                waiting = question.execute("SELECT waitstart FROM pg_locks WHERE NOT granted AND locktype = 'relation'")
                attempts |= {start for (start,) in waiting if start}
        assert not migration.done()
        backup.rollback()
        assert migration.result().after == SCHEMA
    check(postgres_url)


def test_migration_that_gets_no_lock_names_the_session_that_holds_it(postgres_url: str) -> None:
    with downgraded(postgres_url, "0004"):
        pass
    with psycopg.connect(postgres_url, application_name="nightly dump") as backup:
        backup.execute("LOCK TABLE placement IN ACCESS SHARE MODE")
        pid = backup.info.backend_pid
        with pytest.raises(
            ServiceUnavailable, match=rf"held by pid {pid} \(nightly dump, .*idle in transaction, .*since"
        ):
            migrate(postgres_url, patience_s=1)
    with Catalog(postgres_url) as catalog, catalog.reading() as connection:
        assert not is_migrated(connection)
    assert migrate(postgres_url).before == "0004"


def test_applied_migrations_are_kept_if_a_later_one_gets_no_lock(postgres_url: str) -> None:
    with downgraded(postgres_url, "0003"):
        pass
    with psycopg.connect(postgres_url) as reader:
        reader.execute("LOCK TABLE segment_chunk IN ACCESS SHARE MODE")  # 0005 renames its columns
        with pytest.raises(ServiceUnavailable, match="Migrations applied so far are kept"):
            migrate(postgres_url, patience_s=1)
    assert migrate(postgres_url).before == "0004"


def test_index_is_created_while_its_table_is_written(postgres_url: str) -> None:
    with downgraded(postgres_url, "0001"):
        pass
    with ThreadPoolExecutor(1) as thread, psycopg.connect(postgres_url) as writer:
        writer.execute("LOCK TABLE placement IN ROW EXCLUSIVE MODE")  # as an uncommitted insert holds it
        migration = thread.submit(migrate, postgres_url)
        with psycopg.connect(postgres_url, autocommit=True) as other:
            for _ in range(10):
                other.execute("DELETE FROM placement")
        writer.rollback()
        assert migration.result().after == SCHEMA
    check(postgres_url)


def test_interrupted_creation_of_an_index_is_repeated(postgres_url: str) -> None:
    with downgraded(postgres_url, "0001"):
        pass
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE INDEX ix_placement_since ON placement (kb, since)")
        connection.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_placement_since'::regclass")
    migrate(postgres_url)
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT count(*) FROM pg_index WHERE NOT indisvalid").fetchone() == (0,)
    check(postgres_url)


OPTIONS = "?options=-c%20search_path%3Dtenant%20-c%20statement_timeout%3D7s"


def test_options_of_the_url_apply_to_every_connection(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE SCHEMA tenant")
        connection.execute("DROP SCHEMA public CASCADE")
    url = postgres_url + OPTIONS
    assert migrate(url).after == SCHEMA
    check(url)

    def settings(connection: psycopg.Connection[object]) -> object:
        return scalar(connection, "SELECT current_schema() || ' ' || current_setting('statement_timeout')")

    with Catalog(url) as catalog:
        assert catalog.read_once(lambda connection: scalar(connection, "SHOW timezone")) == "UTC"
        for _ in range(2):
            with catalog.writing() as connection:
                assert settings(connection) == "tenant 7s"
            with catalog.reading(timeout_s=1) as reading:
                assert settings(reading) == "tenant 1s"
        with catalog.build_lock("kb") as lock:
            assert lock._connection
            assert settings(lock._connection) == "tenant 7s"
            with lock.build.writing() as building:
                assert settings(building) == "tenant 7s"


@pytest.mark.parametrize("options", ["-c%20TimeZone%3DEurope%2FBerlin", "-ctimezone%3DCET", "--timezone%3DCET"])
def test_option_that_statements_depend_on_is_refused(postgres_url: str, options: str) -> None:
    with pytest.raises(ConfigurationError, match=r"(?i)options of MINDSET_POSTGRES_URL set timezone"):
        Catalog(f"{postgres_url}?options={options}")
