"""Feedback: how callers rated answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

from mindset.catalog.transactions import Connection, WriteConnection, rows

Rating = Literal["good", "bad"]


@dataclass(frozen=True, slots=True)
class AnswerReference:
    """A logged answer's knowledge base and caller."""

    kb: str
    caller: str


def find_answer(connection: Connection, day: date, id_: str) -> AnswerReference | None:
    """Look up a logged answer; `day` selects the partition."""
    found = rows(connection, "SELECT kb, caller FROM answer_log WHERE day = %(day)s AND id = %(id)s", day=day, id=id_)
    return AnswerReference(*found[0]) if found else None


def store_feedback(
    connection: WriteConnection, kb: str, answer_id: str, caller: str, rating: Rating, comment: str | None
) -> None:
    """Store a rating; it replaces the caller's previous rating of the same answer."""
    connection.execute(
        """INSERT INTO feedback (kb, answer_id, caller, rating, comment) VALUES (%s, %s, %s, %s, %s)
           ON CONFLICT (answer_id, caller) DO UPDATE SET
             rating = EXCLUDED.rating, comment = EXCLUDED.comment, created_at = now()""",
        [kb, answer_id, caller, rating, comment],
    )
