"""Vault's KV version 2: one secret read with a token."""

from __future__ import annotations

import json

from tests.providers.reply import Reply

TOKEN = "s.vault-token"


def reply(path: str, token: str | None, secrets: dict[str, dict[str, str]]) -> Reply:
    """The answer to `GET /v1/MOUNT/data/PATH`; `secrets` is by `MOUNT/PATH`."""
    if token != TOKEN:
        return _json({"errors": ["permission denied"]}, 403)
    mount, _, rest = path.removeprefix("/v1/").partition("/data/")
    found = secrets.get(f"{mount}/{rest}")
    if found is None:
        return _json({"errors": []}, 404)
    return _json({"data": {"data": found, "metadata": {"version": 1, "deletion_time": "", "destroyed": False}}})


def _json(body: object, status: int = 200) -> Reply:
    return Reply((json.dumps(body).encode(),), status=status)
