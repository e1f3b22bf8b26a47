"""The same request sent again is told what the first was told."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from mindset.catalog.connection import Writing, rows
from mindset.errors import RequestRejected


@dataclass(frozen=True)
class Once:
    """A request that is to be done once: who sends it, under which key, and a fingerprint of what it asks."""

    caller: str
    key: str
    request: str


def earlier(connection: Writing, once: Once) -> Any:
    """What was told before, None where nothing was; others with the same key wait until this transaction ends.

    Raises RequestRejected where the key stands for another request."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 4))", [f"once {once.caller} {once.key}"])
    found = rows(
        connection,
        "SELECT request, response FROM idempotency WHERE caller = %(caller)s AND key = %(key)s",
        caller=once.caller,
        key=once.key,
    )
    if not found:
        return None
    request, response = found[0]
    if request != once.request:
        raise RequestRejected(f"The Idempotency-Key {once.key!r} was used for another request. Choose a new one.")
    return response


def remember(connection: Writing, once: Once, response: Any) -> None:
    """Keep what is told, in the transaction that did it."""
    connection.execute(
        "INSERT INTO idempotency (caller, key, request, response) VALUES (%s, %s, %s, %s)",
        [once.caller, once.key, once.request, json.dumps(response)],
    )


def forget_requests(connection: Writing, days: int = 7) -> int:
    """Delete what was told longer ago; returns how many."""
    return connection.execute(
        "DELETE FROM idempotency WHERE created_at < now() - make_interval(days => %s)", [days]
    ).rowcount
