"""Evaluations that meet slow or failing searches, and evaluations that decide about nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from mindset.application import Installation
from mindset.catalog.evaluations import get_evaluation
from mindset.errors import UnknownVersion
from mindset.evaluation.evaluate import measure
from mindset.pipeline.plan import evaluation_to_deploy
from mindset.releases.promotion import deploy
from tests.corpus import Corpus, begin_build, run_night
from tests.integration.test_maintenance import row_count
from tests.integration.test_waits import _one_question
from tests.waiting import wait_until


def _waiting_for_lock(connection: psycopg.Connection[object]) -> list[tuple[int, float]]:
    """Return pid and seconds of the statements that wait for a lock on a table."""
    return connection.execute(
        """SELECT a.pid, extract(epoch FROM clock_timestamp() - a.query_start)::float8
           FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid AND NOT l.granted AND l.locktype = 'relation'"""
    ).fetchall()  # type: ignore[return-value]


def test_search_that_misses_servings_deadline_does_not_fail_an_evaluation(
    installation: Installation, corpus: Corpus, postgres_url: str
) -> None:
    corpus.define(retrieval={"deadline_s": 0.3})
    corpus.fill(2)
    run_night(installation, corpus.name)
    _one_question(corpus)
    kb = installation.knowledge_base(corpus.name)
    with (
        ThreadPoolExecutor(1) as thread,
        psycopg.connect(postgres_url) as owner,
        psycopg.connect(postgres_url, autocommit=True) as observer,
    ):
        owner.execute("LOCK TABLE chunk IN ACCESS EXCLUSIVE MODE")
        measured = thread.submit(measure, installation.catalog, kb, installation.searcher, 1)
        wait_until(
            lambda: any(seconds > 0.6 for _, seconds in _waiting_for_lock(observer)), 60, "no search took that long"
        )
        owner.rollback()
        assert measured.result(60).record.metrics["all"]["recall@5"] == 1


def test_search_that_fails_in_passing_is_repeated_by_an_evaluation(
    installation: Installation, corpus: Corpus, postgres_url: str
) -> None:
    corpus.fill(2)
    run_night(installation, corpus.name)
    _one_question(corpus)
    kb = installation.knowledge_base(corpus.name)
    with (
        ThreadPoolExecutor(1) as thread,
        psycopg.connect(postgres_url) as owner,
        psycopg.connect(postgres_url, autocommit=True) as observer,
    ):
        owner.execute("LOCK TABLE chunk IN ACCESS EXCLUSIVE MODE")
        measured = thread.submit(measure, installation.catalog, kb, installation.searcher, 1)
        pid, _ = wait_until(lambda: _waiting_for_lock(observer), 60, "no search waited")[0]
        observer.execute("SELECT pg_terminate_backend(%s)", [pid])
        owner.rollback()
        assert measured.result(60).record.metrics["all"]["recall@5"] == 1


def test_measuring_by_hand_stores_nothing(installation: Installation, corpus: Corpus) -> None:
    corpus.fill(2)
    run_night(installation, corpus.name)
    _one_question(corpus)
    evaluations = row_count(installation, "evaluation")
    assert (
        measure(installation.catalog, installation.knowledge_base(corpus.name), installation.searcher, 1).record.id == 0
    )
    assert row_count(installation, "evaluation") == evaluations


def test_evaluation_that_no_build_stored_releases_nothing(installation: Installation, corpus: Corpus) -> None:
    """As an earlier release of `mindset evaluate` stored it, with whatever golden set that machine had."""
    corpus.fill(2)
    night = run_night(installation, corpus.name)
    assert night.evaluation
    build = begin_build(installation, corpus.name)
    with installation.catalog.writing() as connection:
        stored = connection.execute(
            """INSERT INTO evaluation (kb, version, golden_set, questions, metrics, baseline_metrics, passed, reasons)
               VALUES (%s, 1, 'a laptop', 1, '{}', '{}', true, '{}') RETURNING id""",
            [corpus.name],
        ).fetchall()[0][0]
    with pytest.raises(UnknownVersion, match=f"Evaluation {stored} of {corpus.name} was not stored by a build"):
        deploy(build, corpus.name, stored, "test")
    assert evaluation_to_deploy(installation.catalog, corpus.name) == night.evaluation.record.id
    with installation.catalog.reading() as reading:
        own = get_evaluation(reading, corpus.name, night.evaluation.record.id)
    assert own and own.build == build.token - 1
