"""What callers thought of answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

from mindset.catalog.connection import Connection, Writing, rows

Verdict = Literal["good", "bad"]


@dataclass(frozen=True, slots=True)
class Given:
    """An answer that was given: of which knowledge base, and to whom."""

    kb: str
    caller: str


def find_answer(connection: Connection, day: date, id_: str) -> Given | None:
    """An answer of the log; the day says in which partition."""
    found = rows(connection, "SELECT kb, caller FROM answer_log WHERE day = %(day)s AND id = %(id)s", day=day, id=id_)
    return Given(*found[0]) if found else None


def give_feedback(
    connection: Writing, kb: str, answer: str, caller: str, verdict: Verdict, comment: str | None
) -> None:
    """Keep a verdict; a caller's second one on an answer replaces the first."""
    connection.execute(
        """INSERT INTO feedback (kb, answer, caller, verdict, comment) VALUES (%s, %s, %s, %s, %s)
           ON CONFLICT (answer, caller) DO UPDATE SET
             verdict = EXCLUDED.verdict, comment = EXCLUDED.comment, given_at = now()""",
        [kb, answer, caller, verdict, comment],
    )
