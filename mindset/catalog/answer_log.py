"""The answer log. It contains the text of questions only if the settings say so."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta

from psycopg import sql

from mindset.catalog.transactions import WriteConnection, rows, scalar


@dataclass(frozen=True)
class LoggedAnswer:
    """A logged answer; the fields are the table's columns."""

    id: str
    kb: str
    version: int
    release_id: int | None
    request_id: str
    caller: str
    generator: str
    prompt_fingerprint: str | None
    chunk_ids: list[str]
    supported: bool
    degraded: list[str]
    finish_reason: str
    input_tokens: int
    output_tokens: int
    cached: bool
    duration_ms: int
    trace_id: str | None = None
    question: str | None = None


_COLUMNS = [field.name for field in fields(LoggedAnswer)]


def new_answer_id() -> str:
    """Return a new id of 32 hexadecimal digits: the time in milliseconds, as in a version 7 UUID, and 80 random bits.

    The time shows the day, and so the partition, of the answer."""
    return f"{int(time.time() * 1000):012x}{secrets.token_hex(10)}"


def day_of(answer: str) -> date | None:
    """Return the day (UTC) of an answer, which is its partition; None if the id is invalid."""
    time_ = _time_of(answer)
    return time_.date() if time_ else None


def _time_of(answer: str) -> datetime | None:
    if not re.fullmatch(r"[0-9a-f]{32}", answer):
        return None
    try:
        return datetime.fromtimestamp(int(answer[:12], 16) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def log_answers(connection: WriteConnection, answers: Sequence[LoggedAnswer]) -> None:
    """Insert answers into the partitions of their days; existing rows are kept."""
    statement = sql.SQL("INSERT INTO answer_log (day, asked_at, {}) VALUES (%s, %s, {}) ON CONFLICT DO NOTHING").format(
        sql.SQL(", ").join(map(sql.Identifier, _COLUMNS)), sql.SQL(", ").join([sql.Placeholder()] * len(_COLUMNS))
    )
    with connection.cursor() as cursor:
        cursor.executemany(
            statement,
            [
                (day_of(answer.id), _time_of(answer.id), *(getattr(answer, column) for column in _COLUMNS))
                for answer in answers
            ],
        )


def create_partitions(connection: WriteConnection, ahead: int = 7) -> date:
    """Create the partitions of today and the next `ahead` days, and return today (UTC).

    One partition per day allows dropping a day at once. Answers that arrived before their partition existed are in the
    default partition and are moved."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('partitions of answer_log', 5))")
    today: date = scalar(connection, "SELECT (now() AT TIME ZONE 'UTC')::date")
    existing = {
        name for (name,) in rows(connection, "SELECT inhrelid::regclass::text FROM pg_inherits "
                                 "WHERE inhparent = 'answer_log'::regclass")
    }  # fmt: skip
    days = {
        f"answer_log_p_{day:%Y%m%d}": day for day in (today + timedelta(days=offset) for offset in range(ahead + 1))
    }
    if missing := days.keys() - existing:
        _lock_exclusively(connection)
        for name in sorted(missing):
            _create_partition(connection, name, days[name])
    return today


def _lock_exclusively(connection: WriteConnection) -> None:
    """Lock the log until the transaction ends, since rows added while a partition is created would conflict with it.

    Gives up after two seconds: a long-running reader would otherwise block everything behind this lock."""
    connection.execute("SET LOCAL lock_timeout = '2s'")
    connection.execute("LOCK TABLE answer_log IN ACCESS EXCLUSIVE MODE")


def _create_partition(connection: WriteConnection, name: str, day: date) -> None:
    """Create the partition of a day.

    Postgres refuses while the default partition contains rows of that day, so they are moved out and inserted again."""
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


def drop_old_partitions(connection: WriteConnection, before: date) -> int:
    """Drop the partitions of days before `before` and the feedback on their answers. Returns the number of days."""
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
        _lock_exclusively(connection)
    for name in old:
        connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))
    connection.execute("DELETE FROM answer_log_p_default WHERE day < %s", [before])
    connection.execute("DELETE FROM feedback WHERE created_at < %s", [before])
    return len(old)
