"""Evaluations of versions and the metrics of their questions."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from mindset.catalog.build import BuildConnection
from mindset.catalog.transactions import Connection, rows, scalar

Slices = dict[str, dict[str, float]]
"""{slice: {metric: value}}; the slice `all` contains every answerable question."""


@dataclass(frozen=True, slots=True)
class EvaluationRecord:
    """The result of an evaluation; `id` is 0 until it is stored."""

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
    build: int | None = None
    """Token of the build that stored it. Only such an evaluation can release a version."""


@dataclass(frozen=True, slots=True)
class QuestionRecord:
    """The metrics of one question, for the candidate and for the baseline."""

    question: str
    slice: str
    metrics: dict[str, float]
    baseline_metrics: dict[str, float]


def store_evaluation(
    connection: BuildConnection, kb: str, evaluation: EvaluationRecord, questions: Iterable[QuestionRecord]
) -> int:
    """Store an evaluation and return its id."""
    evaluation_id = int(
        scalar(
            connection,
            """INSERT INTO evaluation
                 (kb, version, baseline, golden_set, questions, metrics, baseline_metrics, passed, reasons, build)
               VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id""",
            kb, evaluation.version, evaluation.baseline, evaluation.golden_set, evaluation.questions,
            json.dumps(evaluation.metrics), json.dumps(evaluation.baseline_metrics), evaluation.passed,
            list(evaluation.reasons), evaluation.build,
        )
    )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.executemany(
            """INSERT INTO evaluation_question (evaluation_id, question, slice, metrics, baseline_metrics)
               VALUES (%s, %s, %s, %s, %s)""",
            [
                (evaluation_id, question.question, question.slice,
                 json.dumps(question.metrics), json.dumps(question.baseline_metrics))
                for question in questions
            ],
        )  # fmt: skip
    return evaluation_id


def get_evaluation(connection: Connection, kb: str, evaluation_id: int) -> EvaluationRecord | None:
    """Return an evaluation by its id."""
    return _newest(connection, kb, evaluation_id, None)


def newest_evaluation(connection: Connection, kb: str, version: int) -> EvaluationRecord | None:
    """Return the newest evaluation of a version that a build has stored."""
    return _newest(connection, kb, None, version)


def _newest(connection: Connection, kb: str, evaluation_id: int | None, version: int | None) -> EvaluationRecord | None:
    found = rows(
        connection,
        """SELECT id, version, baseline, golden_set, questions, metrics, baseline_metrics, passed, reasons, created_at,
             build
           FROM evaluation
           WHERE kb = %(kb)s AND (id = %(id)s OR version = %(version)s AND build IS NOT NULL) ORDER BY id DESC LIMIT 1""",
        kb=kb,
        id=evaluation_id,
        version=version,
    )
    if not found:
        return None
    number, judged, baseline, golden_set, questions, metrics, baseline_metrics, passed, reasons, created_at, build = (
        found[0]
    )
    return EvaluationRecord(
        number,
        judged,
        baseline,
        golden_set,
        questions,
        metrics,
        baseline_metrics,
        passed,
        tuple(reasons),
        created_at,
        build,
    )
