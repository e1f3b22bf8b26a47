"""The log of answers; it holds the question's text only where the settings ask for it."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta

from psycopg import sql

from mindset.catalog.connection import Writing, rows, scalar


@dataclass(frozen=True)
class LoggedAnswer:
    """One answer; the fields are the columns."""

    id: str
    kb: str
    version: int
    release: int | None
    request: str
    caller: str
    generator: str
    prompt: str | None
    passages: list[str]
    supported: bool
    degraded: list[str]
    finish_reason: str
    input_tokens: int
    output_tokens: int
    cached: bool
    milliseconds: int
    trace: str | None = None
    question: str | None = None


_COLUMNS = [each.name for each in fields(LoggedAnswer)]


def new_answer_id() -> str:
    """Thirty-two hexadecimal digits: the milliseconds of now, as in a UUID of version 7, so that the log's day can be
    told from it, and eighty random bits."""
    return f"{int(time.time() * 1000):012x}{secrets.token_hex(10)}"


def day_of(answer: str) -> date | None:
    """The day (UTC) on which an answer was given, which is its partition; None where the id is none of ours."""
    moment = _moment_of(answer)
    return moment.date() if moment else None


def _moment_of(answer: str) -> datetime | None:
    if not re.fullmatch(r"[0-9a-f]{32}", answer):
        return None
    try:
        return datetime.fromtimestamp(int(answer[:12], 16) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def log_answers(connection: Writing, answers: Sequence[LoggedAnswer]) -> None:
    """Add answers to the log of their days; those that are in it already stay as they are."""
    statement = sql.SQL("INSERT INTO answer_log (day, asked_at, {}) VALUES (%s, %s, {}) ON CONFLICT DO NOTHING").format(
        sql.SQL(", ").join(map(sql.Identifier, _COLUMNS)), sql.SQL(", ").join([sql.Placeholder()] * len(_COLUMNS))
    )
    with connection.cursor() as cursor:
        cursor.executemany(
            statement,
            [
                (day_of(each.id), _moment_of(each.id), *(getattr(each, column) for column in _COLUMNS))
                for each in answers
            ],
        )


def make_partitions(connection: Writing, ahead: int = 7) -> date:
    """Partitions of the log for today and the days ahead, so that a day can be dropped at once; returns today (UTC).

    Answers that came before their day had a partition are in the default one, and move."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('partitions of answer_log', 5))")
    today: date = scalar(connection, "SELECT (now() AT TIME ZONE 'UTC')::date")
    known = {
        name for (name,) in rows(connection, "SELECT inhrelid::regclass::text FROM pg_inherits "
                                 "WHERE inhparent = 'answer_log'::regclass")
    }  # fmt: skip
    days = {f"answer_log_p_{day:%Y%m%d}": day for day in (today + timedelta(days=each) for each in range(ahead + 1))}
    if missing := days.keys() - known:
        _have_alone(connection)
        for name in sorted(missing):
            _make_partition(connection, name, days[name])
    return today


def _have_alone(connection: Writing) -> None:
    """Keep everybody else from the log until the transaction ends: what is added between looking and making a partition
    would be in its way. Whoever reads it for minutes is not waited for, since all others would wait behind."""
    connection.execute("SET LOCAL lock_timeout = '2s'")
    connection.execute("LOCK TABLE answer_log IN ACCESS EXCLUSIVE MODE")


def _make_partition(connection: Writing, name: str, day: date) -> None:
    """Postgres makes none while the default partition holds rows of it, so these wait outside."""
    values = {"name": sql.Identifier(name), "day": sql.Literal(day), "next": sql.Literal(day + timedelta(days=1))}
    connection.execute(
        sql.SQL(
            "CREATE TEMPORARY TABLE moved ON COMMIT DROP AS SELECT * FROM answer_log_p_default WHERE day = {day}"
        ).format(**values)
    )
    connection.execute(sql.SQL("DELETE FROM answer_log_p_default WHERE day = {day}").format(**values))
    connection.execute(
        sql.SQL("CREATE TABLE {name} PARTITION OF answer_log FOR VALUES FROM ({day}) TO ({next})").format(**values)
    )
    connection.execute("INSERT INTO answer_log SELECT * FROM moved")
    connection.execute("DROP TABLE moved")


def forget_answers(connection: Writing, before: date) -> int:
    """Drop the partitions of days before one, and the feedback on their answers; returns how many days."""
    old = [
        name
        for (name,) in rows(
            connection,
            """SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
               WHERE i.inhparent = 'answer_log'::regclass AND c.relname ~ '^answer_log_p_[0-9]{8}$'
                 AND right(c.relname, 8) < to_char(%(before)s::date, 'YYYYMMDD')""",
            before=before,
        )
    ]
    if old:
        _have_alone(connection)
    for name in old:
        connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))
    connection.execute("DELETE FROM answer_log_p_default WHERE day < %s", [before])
    connection.execute("DELETE FROM feedback WHERE given_at < %s", [before])
    return len(old)
