"""Kill a migration while questions are asked and a long reader holds locks: nobody waits, and a later one completes."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from mindset.application import Installation
from mindset.catalog.migrations import check
from mindset.catalog.schema_revision import SCHEMA
from tests.corpus import Corpus, run_night
from tests.faults.invariants import check_invariants
from tests.faults.kill_counts import Tally, count
from tests.faults.kills import MIGRATIONS, SEED
from tests.faults.questions import QuestionLoad
from tests.faults.test_kills import counted

# A migration of a later release, which changes tables that questions read. This release answers questions before and after.
_NEXT = f"""
from alembic import op

revision, down_revision, branch_labels, depends_on = "9999", "{SCHEMA}", None, None


def upgrade():
    for table in ("document", "placement", "chunk", "evaluation"):
        op.execute(f"ALTER TABLE {{table}} ADD COLUMN later text")


def downgrade():
    for table in ("document", "placement", "chunk", "evaluation"):
        op.execute(f"ALTER TABLE {{table}} DROP COLUMN later")
"""

_MIGRATE = """
import sys
from mindset.catalog import migrations

own = migrations.configuration


def with_the_next_one():
    config = own()
    config.set_main_option("version_locations", f"{config.get_main_option('script_location')}/versions {sys.argv[2]}")
    config.set_main_option("path_separator", "space")
    return config


migrations.configuration = with_the_next_one
if sys.argv[3:]:
    from alembic import command

    with migrations._engine(sys.argv[1]).connect() as connection:
        config = with_the_next_one()
        config.attributes["connection"] = connection
        command.downgrade(config, sys.argv[3])
        connection.commit()
else:
    migrations.migrate(sys.argv[1])
"""


@pytest.mark.slow
@pytest.mark.timeout(120 + 20 * MIGRATIONS)
def test_questions_are_answered_while_migrations_are_blocked_and_killed(
    installation: Installation, corpus: Corpus, postgres_url: str, tmp_path: Path, tally: Tally
) -> None:
    choose = random.Random(SEED)
    corpus.fill(6)
    run_night(installation, corpus.name)
    with QuestionLoad(installation, corpus.name, ["How many rooms are there?"]) as load, counted(load, tally):
        for _ in range(MIGRATIONS):
            with psycopg.connect(postgres_url, application_name="pg_dump") as backup:
                backup.execute("LOCK TABLE evaluation, placement, chunk, document IN ACCESS SHARE MODE")
                migration = start_migration(postgres_url, tmp_path)
                time.sleep(choose.uniform(0, 5))  # its start alone takes one or two seconds
                migration.kill()
                migration.wait()
                count(tally, "killed: migration")
                load.check()
            assert start_migration(postgres_url, tmp_path).wait(120) == 0
            assert revision(postgres_url) == "9999"
            assert start_migration(postgres_url, tmp_path, SCHEMA).wait(120) == 0
            check(postgres_url)
        assert load.refused == 0
    run_night(installation, corpus.name)
    check_invariants(installation, corpus.name, corpus.folder)


def start_migration(url: str, folder: Path, *downgrade_to: str) -> subprocess.Popen[bytes]:
    """Start to migrate to the later schema, or back."""
    versions = folder / "versions"
    versions.mkdir(exist_ok=True)
    (versions / "9999_later.py").write_text(_NEXT)
    return subprocess.Popen(
        [sys.executable, "-c", _MIGRATE, url, str(versions), *downgrade_to],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "HOME": str(folder)},
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def revision(url: str) -> str:
    """Return the revision of the schema."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    assert row
    return str(row[0])
