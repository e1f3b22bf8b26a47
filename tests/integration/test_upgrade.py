"""An upgrade from the previous release's schema, with data."""

from __future__ import annotations

from datetime import date
from typing import Literal

import psycopg
from psycopg.rows import dict_row

from mindset.application import Installation
from mindset.catalog.documents import take_down
from mindset.catalog.feedback import find_answer
from mindset.catalog.migrations import check, migrate
from mindset.catalog.releases import list_releases
from tests.corpus import Corpus, ask, run_night
from tests.integration.test_migrations import downgraded

PREVIOUS = "0004"

# Every table with a column that migration 0005 renames, and that column's old and new name.
RENAMED = {
    "placement": {"since": "valid_from", "until": "valid_to", "chunk": "chunk_id"},
    "segment_chunk": {"segment": "segment_id", "chunk": "chunk_id"},
    "embedding": {"text_hash": "chunk_id"},
    "version_segment": {"segment": "segment_id"},
    "evaluation_question": {"evaluation": "evaluation_id"},
    "document": {"vanished_at": "removed_at"},
    "knowledge_base": {"epoch": "rights_epoch"},
    "release": {"since": "released_at", "until": "replaced_at"},
    "feedback": {"answer": "answer_id", "verdict": "rating", "given_at": "created_at"},
    "answer_log": {
        "request": "request_id", "release": "release_id", "prompt": "prompt_fingerprint", "passages": "chunk_ids",
        "milliseconds": "duration_ms", "trace": "trace_id",
    },
}  # fmt: skip

# Columns that later migrations add: they are empty after an upgrade.
ADDED = {"has_own_acl"}

ANSWER_ID = "0193f4a2b6d05c1e8a7f3b2d4c6e8f90"


def _rows(url: str, names: Literal["old", "new"]) -> dict[str, list[str]]:
    """Return the rows of every table in a comparable order, with the new column names."""
    rows_by_table: dict[str, list[str]] = {}
    with psycopg.connect(url, row_factory=dict_row) as connection:
        for table, renamed in RENAMED.items():
            new_names = renamed if names == "old" else {}
            rows = connection.execute(f"SELECT * FROM {table}").fetchall()
            rows_by_table[table] = sorted(
                str(sorted((new_names.get(name, name), value) for name, value in row.items() if name not in ADDED))
                for row in rows
            )
    return rows_by_table


def test_upgrade_keeps_every_row_and_the_ranking(installation: Installation, corpus: Corpus, postgres_url: str) -> None:
    corpus.fill(6)
    quote = "Sentence 0 of section 0 says that the glacier 1 has 100 rooms."
    corpus.golden(
        {"id": "one", "question": "How many rooms has the glacier 1?", "evidence": [{"uri": "doc1.md", "quote": quote}]}
    )
    run_night(installation, corpus.name)
    (corpus.folder / "doc5.md").unlink()
    run_night(installation, corpus.name)
    before = ask(installation, corpus.name, "How many rooms has the glacier 1?")
    rows = _rows(postgres_url, "new")
    assert all(rows[table] for table in RENAMED.keys() - {"answer_log", "feedback"})

    with downgraded(postgres_url, PREVIOUS) as connection:
        connection.exec_driver_sql(
            "INSERT INTO answer_log (day, id, kb, version, request, generator, passages, supported, degraded, milliseconds) "
            f"VALUES (to_timestamp(x'{ANSWER_ID[:12]}'::bigint / 1000.0)::date, '{ANSWER_ID}', 'kb', 1, 'request-1', "
            "'extractive', '{a,b}', true, '{}', 12)"
        )
        connection.exec_driver_sql(
            f"INSERT INTO feedback (kb, answer, verdict, given_at) VALUES ('kb', '{ANSWER_ID}', 'bad', '2026-11-01')"
        )
    previous = _rows(postgres_url, "old")
    assert rows | {table: previous[table] for table in ("answer_log", "feedback")} == previous

    assert migrate(postgres_url).before == PREVIOUS
    check(postgres_url)
    assert _rows(postgres_url, "new") == previous
    assert ask(installation, corpus.name, "How many rooms has the glacier 1?") == before
    with installation.catalog.reading() as reading:
        assert [release.replaced_at is None for release in list_releases(reading, corpus.name)] == [True, False]
        logged = reading.execute("SELECT request_id, chunk_ids, duration_ms FROM answer_log").fetchall()
        rated = reading.execute("SELECT answer_id, rating, created_at::date::text FROM feedback").fetchall()
    assert logged == [("request-1", ["a", "b"], 12)]
    assert rated == [(ANSWER_ID, "bad", "2026-11-01")]


def test_triggers_and_nights_work_after_an_upgrade(
    installation: Installation, corpus: Corpus, postgres_url: str
) -> None:
    corpus.fill(3)
    run_night(installation, corpus.name)
    with downgraded(postgres_url, PREVIOUS):
        pass
    migrate(postgres_url)
    epoch = installation.searcher.snapshot(corpus.name).rights_epoch
    with installation.catalog.writing() as connection:
        take_down(connection, corpus.name, "doc1.md", "wrong")
    assert installation.searcher.snapshot(corpus.name).rights_epoch == epoch + 1
    corpus.write("new.md", "# Harbour\n\nThe harbour opens at six.\n")
    night = run_night(installation, corpus.name)
    assert night.decision and night.decision.version == 2
    assert ask(installation, corpus.name, "When does the harbour open?")[0] == "new.md"


def test_answers_of_the_previous_release_can_be_rated(installation: Installation, postgres_url: str) -> None:
    with downgraded(postgres_url, PREVIOUS) as connection:
        connection.exec_driver_sql(
            "INSERT INTO answer_log (day, id, kb, version, request, caller, generator, passages, supported, degraded, "
            f"milliseconds) VALUES ('2024-12-24', '{ANSWER_ID}', 'kb', 1, 'r', 'key:a', 'extractive', '{{}}', true, '{{}}', 1)"
        )
    migrate(postgres_url)
    with installation.catalog.reading() as reading:
        answer = find_answer(reading, date(2024, 12, 24), ANSWER_ID)
    assert answer and (answer.kb, answer.caller) == ("kb", "key:a")
