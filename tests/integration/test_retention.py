"""History is deleted by maintenance when it is older than its retention."""

from __future__ import annotations

from datetime import datetime, timedelta

import psycopg
import pytest

from mindset.application import Installation
from mindset.catalog.audit import record_audit
from mindset.catalog.releases import list_releases
from mindset.catalog.retention import Retention, delete_expired
from mindset.catalog.versions import list_versions
from mindset.pipeline.maintenance import maintain
from tests.corpus import SUBJECTS, Corpus, ask, begin_build, document, run_night
from tests.faults.invariants import check_segments
from tests.integration.test_maintenance import row_count

QUOTE = "Sentence 0 of section 0 says that the glacier 1 has 100 rooms."


@pytest.fixture
def old(installation: Installation, corpus: Corpus, postgres_url: str) -> Corpus:
    """Six versions, of which four are retired; everything happened 100 days ago."""
    corpus.define(keep_versions=2, max_deletion_ratio=1.0, evaluation={"gate": {"margins": {}}})
    corpus.fill(4)
    corpus.golden(
        {"id": "one", "question": "How many rooms has the glacier 1?", "evidence": [{"uri": "doc1.md", "quote": QUOTE}]}
    )
    for number in range(6):
        corpus.write("doc0.md", document(10 + number))
        run_night(installation, corpus.name)
    with installation.catalog.writing() as connection:
        record_audit(connection, "other", "test", "promote", {})
    with psycopg.connect(postgres_url) as direct:
        for table, columns in {
            "version": ("created_at", "ready_at"),
            "evaluation": ("created_at",),
            "release": ("released_at", "replaced_at"),
            "audit": ("at",),
        }.items():
            for column in columns:
                direct.execute(f"UPDATE {table} SET {column} = {column} - interval '100 days'")
    return corpus


def run_maintenance(installation: Installation, kb: str, retention: Retention) -> None:
    maintain(begin_build(installation, kb), installation.knowledge_base(kb), installation.vectors, retention=retention)


def test_defaults_keep_three_months_of_everything_but_question_metrics(installation: Installation, old: Corpus) -> None:
    run_maintenance(installation, old.name, Retention())
    assert row_count(installation, "evaluation_question") == 0
    assert (row_count(installation, "evaluation"), row_count(installation, "version")) == (6, 6)
    assert (row_count(installation, "release"), row_count(installation, "audit")) == (6, 7)


def test_expired_history_of_retired_versions_is_deleted(installation: Installation, old: Corpus) -> None:
    run_maintenance(installation, old.name, Retention(question_days=200, history_days=30, audit_days=30))
    with installation.catalog.reading() as connection:
        versions = {version.number: version.state for version in list_versions(connection, old.name)}
        releases = [release.version for release in list_releases(connection, old.name)]
    # Chunks that all versions share began with version 1, and version 5 was compared with version 4.
    assert versions == {1: "retired", 4: "retired", 5: "ready", 6: "ready"}
    assert (releases, row_count(installation, "evaluation")) == ([6, 5], 2)
    assert row_count(installation, "evaluation_question") == 2
    assert row_count(installation, "audit") == 1, "of another knowledge base"
    assert row_count(installation, "segment WHERE state = 'dropped'") == 0
    check_segments(installation, old.name)
    assert ask(installation, old.name, "rooms of the glacier 1")[0] == "doc1.md"
    old.write("doc9.md", document(9))
    night = run_night(installation, old.name)
    assert night.decision and night.decision.version == 7, "numbers are not used twice"


def test_recent_history_is_kept(installation: Installation, old: Corpus) -> None:
    run_maintenance(installation, old.name, Retention(question_days=101, history_days=101, audit_days=101))
    assert [
        row_count(installation, table) for table in ("evaluation_question", "evaluation", "release", "version")
    ] == [6] * 4


@pytest.mark.parametrize(
    ("revoked", "expires", "kept"), [(None, None, 1), (400, None, 0), (None, 400, 0), (10, None, 1), (None, -10, 1)]
)
def test_invalid_api_keys_are_deleted_after_a_year(
    installation: Installation, postgres_url: str, revoked: int | None, expires: int | None, kept: int
) -> None:
    def ago(days: int | None) -> datetime | None:
        return None if days is None else datetime.now().astimezone() - timedelta(days=days)

    with psycopg.connect(postgres_url) as connection:
        connection.execute(
            """INSERT INTO api_key (id, name, secret_hash, scopes, principals, created_at, expires_at, revoked_at)
               VALUES ('a', 'a', '', '{}', '{}', now() - interval '500 days', %s, %s)""",
            [ago(expires), ago(revoked)],
        )
    with begin_build(installation, SUBJECTS[0]).writing() as building:
        delete_expired(building, SUBJECTS[0], Retention())
    assert row_count(installation, "api_key") == kept
