"""Evaluations of versions, and the questions behind them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from mindset.catalog.connection import Connection, Writing, rows, scalar

Slices = dict[str, dict[str, float]]
"""{slice: {metric: value}}; the slice `all` holds every answerable question."""


@dataclass(frozen=True, slots=True)
class EvaluationRecord:
    """What an evaluation found; `id` is 0 until it is stored."""

    id: int
    version: int
    baseline: int | None
    golden_set: str
    questions: int
    metrics: Slices
    baseline_metrics: Slices
    passed: bool
    reasons: tuple[str, ...]
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class QuestionRecord:
    """The metrics of one question under the candidate and under the baseline."""

    question: str
    slice: str
    metrics: dict[str, float]
    baseline_metrics: dict[str, float]


def store_evaluation(connection: Writing, kb: str, found: EvaluationRecord, questions: Iterable[QuestionRecord]) -> int:
    """Store an evaluation; returns its id."""
    number = int(
        scalar(
            connection,
            """INSERT INTO evaluation
                 (kb, version, baseline, golden_set, questions, metrics, baseline_metrics, passed, reasons)
               VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id""",
            kb, found.version, found.baseline, found.golden_set, found.questions,
            json.dumps(found.metrics), json.dumps(found.baseline_metrics), found.passed, list(found.reasons),
        )
    )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO evaluation_question (evaluation, question, slice, metrics, baseline_metrics) VALUES (%s,%s,%s,%s,%s)",
            [(number, q.question, q.slice, json.dumps(q.metrics), json.dumps(q.baseline_metrics)) for q in questions],
        )
    return number


def get_evaluation(connection: Connection, kb: str, number: int) -> EvaluationRecord | None:
    """One evaluation, if there is such."""
    return _one(connection, kb, number, None)


def newest_evaluation(connection: Connection, kb: str, version: int) -> EvaluationRecord | None:
    """The last evaluation of a version."""
    return _one(connection, kb, None, version)


def _one(connection: Connection, kb: str, number: int | None, version: int | None) -> EvaluationRecord | None:
    found = rows(
        connection,
        """SELECT id, version, baseline, golden_set, questions, metrics, baseline_metrics, passed, reasons, created_at
           FROM evaluation
           WHERE kb = %(kb)s AND (id = %(number)s OR version = %(version)s) ORDER BY id DESC LIMIT 1""",
        kb=kb,
        number=number,
        version=version,
    )
    if not found:
        return None
    number, judged, baseline, golden_set, questions, metrics, baseline_metrics, passed, reasons, created_at = found[0]
    return EvaluationRecord(
        number, judged, baseline, golden_set, questions, metrics, baseline_metrics, passed, tuple(reasons), created_at
    )
