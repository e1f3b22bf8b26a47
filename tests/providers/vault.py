"""Vault's KV secrets engine version 2: read a secret with a token."""

from __future__ import annotations

import json

from tests.providers.reply import Reply

TOKEN = "s.vault-token"


def reply(path: str, token: str | None, secrets: dict[str, dict[str, str]]) -> Reply:
    """Return the response to `GET /v1/MOUNT/data/PATH`; `secrets` maps `MOUNT/PATH` to key-value pairs."""
    if token != TOKEN:
        return _json({"errors": ["permission denied"]}, 403)
    mount, _, rest = path.removeprefix("/v1/").partition("/data/")
    secret = secrets.get(f"{mount}/{rest}")
    if secret is None:
        return _json({"errors": []}, 404)
    return _json({"data": {"data": secret, "metadata": {"version": 1, "deletion_time": "", "destroyed": False}}})


def _json(body: object, status: int = 200) -> Reply:
    return Reply((json.dumps(body).encode(),), status=status)
