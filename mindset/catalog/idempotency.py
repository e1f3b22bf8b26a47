"""Idempotency keys: a repeated request gets the response to the first one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from mindset.catalog.transactions import WriteConnection, rows
from mindset.errors import RequestRejected


@dataclass(frozen=True)
class IdempotentRequest:
    """A request to be performed once: its caller, its key, and a fingerprint of its content."""

    caller: str
    key: str
    request: str


def find_response(connection: WriteConnection, request: IdempotentRequest) -> Any:
    """Return the stored response, or None. Requests with the same key wait until this transaction ends.

    Raises RequestRejected if the key was used for a different request."""
    connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended(%s, 4))", [f"once {request.caller} {request.key}"]
    )
    found = rows(
        connection,
        "SELECT request, response FROM idempotency WHERE caller = %(caller)s AND key = %(key)s",
        caller=request.caller,
        key=request.key,
    )
    if not found:
        return None
    fingerprint, response = found[0]
    if fingerprint != request.request:
        raise RequestRejected(f"The Idempotency-Key {request.key!r} was used for another request. Choose a new one.")
    return response


def store_response(connection: WriteConnection, request: IdempotentRequest, response: Any) -> None:
    """Store the response in the transaction that performs the request."""
    connection.execute(
        "INSERT INTO idempotency (caller, key, request, response) VALUES (%s, %s, %s, %s)",
        [request.caller, request.key, request.request, json.dumps(response)],
    )


def delete_old_requests(connection: WriteConnection, days: int = 7) -> int:
    """Delete responses older than `days` and return their number."""
    return connection.execute(
        "DELETE FROM idempotency WHERE created_at < now() - make_interval(days => %s)", [days]
    ).rowcount
