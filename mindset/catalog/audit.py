"""The audit log: who changed what."""

from __future__ import annotations

import json
from typing import Any

from mindset.catalog.transactions import WriteConnection


def record_audit(connection: WriteConnection, kb: str, actor: str, action: str, detail: dict[str, Any]) -> None:
    """Record an action in the transaction that performs it."""
    connection.execute(
        "INSERT INTO audit (kb, actor, action, detail) VALUES (%s, %s, %s, %s)", [kb, actor, action, json.dumps(detail)]
    )
