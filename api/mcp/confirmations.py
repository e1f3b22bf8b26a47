"""Confirmations of previewed actions: a signed token that names the action and the state that the preview showed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from dataclasses import dataclass
from typing import Any, Final

from mindset.errors import PreconditionFailed, RequestRejected

LIFETIME_S: Final = 900.0
"""Seconds in which the user can decide."""

NEXT_STEP: Final = "Call the tool without `confirmation` to get a new preview, and show it to the user."


@dataclass(frozen=True)
class Preview:
    """What a preview showed. The reason is part of the action, since it is stored with the release."""

    caller: str
    tool: str
    arguments: dict[str, Any]
    release: int | None
    """Id of the live release."""
    version: int | None = None
    """The version that would be live afterwards."""

    @property
    def action(self) -> str:
        """A fingerprint of caller, tool and arguments."""
        named = json.dumps([self.caller, self.tool, self.arguments], sort_keys=True)
        return hashlib.sha256(named.encode()).hexdigest()


@dataclass(frozen=True)
class Confirmation:
    """A verified token."""

    id: str
    """Unique per preview: an action is performed once per preview."""
    release: int | None
    version: int | None


def issue(secret: bytes, preview: Preview, now: float | None = None) -> str:
    """Return the token of a preview. `now` is in seconds since the epoch."""
    expires = (time.time() if now is None else now) + LIFETIME_S
    payload = json.dumps([secrets.token_hex(8), preview.action, preview.release, preview.version, expires]).encode()
    return f"{_encode(payload)}.{_encode(_sign(secret, payload))}"


def verify(secret: bytes, token: str, preview: Preview, now: float | None = None) -> Confirmation:
    """Return what a token confirms. Only the action of `preview` counts; the code that performs the action compares the state.

    Raises RequestRejected for a token that this service did not issue for this action, PreconditionFailed if it expired."""
    try:
        encoded, signature = token.split(".")
        payload = _decode(encoded)
        valid = hmac.compare_digest(_decode(signature), _sign(secret, payload))
    except ValueError:
        valid = False
    if not valid:
        raise RequestRejected(f"`confirmation` is not one that a preview returned. {NEXT_STEP}")
    id_, action, release, version, expires = json.loads(payload)
    if action != preview.action:
        raise RequestRejected(f"`confirmation` belongs to another action or other arguments. {NEXT_STEP}")
    if (time.time() if now is None else now) > expires:
        raise PreconditionFailed(f"The preview is older than {LIFETIME_S / 60:.0f} minutes. {NEXT_STEP}")
    return Confirmation(id_, release, version)


def _sign(secret: bytes, payload: bytes) -> bytes:
    return hmac.digest(secret, b"mcp confirmation " + payload, hashlib.sha256)


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decode(text: str) -> bytes:
    if not text.isascii():
        raise ValueError("not base64")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
