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
from mindset.catalog.migrations import check, migrate
from mindset.catalog.schema_revision import SCHEMA
from tests.corpus import Corpus, run_night
from tests.faults.invariants import check_invariants
from tests.faults.kill_counts import Tally, count
from tests.faults.kills import MIGRATIONS, SEED
from tests.faults.questions import QuestionLoad
from tests.faults.test_kills import counted
from tests.integration.test_migrations import downgraded

# The oldest schema with which this release answers questions: they are asked during the migration.
_SERVED = "0006"


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
            with downgraded(postgres_url, _SERVED):
                pass
            with psycopg.connect(postgres_url, application_name="pg_dump") as backup:
                backup.execute("LOCK TABLE evaluation, placement, chunk, document IN ACCESS SHARE MODE")
                migration = start_migration(postgres_url, tmp_path)
                time.sleep(choose.uniform(0, 5))  # its start alone takes one or two seconds
                migration.kill()
                migration.wait()
                count(tally, "killed: migration")
                load.check()
            assert migrate(postgres_url).after == SCHEMA
            check(postgres_url)
        assert load.refused == 0
    run_night(installation, corpus.name)
    check_invariants(installation, corpus.name, corpus.folder)


def start_migration(url: str, folder: Path) -> subprocess.Popen[bytes]:
    """Start `mindset migrate`."""
    return subprocess.Popen(
        [sys.executable, "-m", "cli.app", "migrate"],
        env=os.environ
        | {"MINDSET_POSTGRES_URL": url, "PYTHONPATH": str(Path(__file__).parents[2]), "HOME": str(folder)},
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
