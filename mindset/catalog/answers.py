"""The log of answers; it never holds the question's text."""

from __future__ import annotations

from dataclasses import astuple, dataclass

from mindset.catalog.connection import Writing


@dataclass(frozen=True)
class LoggedAnswer:
    """One answer, in the order of the statement's columns."""

    id: str
    kb: str
    version: int
    request: str
    generator: str
    passages: list[str]
    supported: bool
    degraded: list[str]
    milliseconds: int


def log_answer(connection: Writing, answer: LoggedAnswer) -> None:
    """Add an answer to today's log."""
    connection.execute(
        """INSERT INTO answer_log (id, kb, version, request, generator, passages, supported, degraded, milliseconds)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)""",
        astuple(answer),
    )
