"""API keys: `pm_<id>_<secret>`, shown once and stored as a keyed hash."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from datetime import datetime

from mindset.auth.caller import Caller, as_principals
from mindset.catalog.api_keys import ApiKey, find_key, insert_key, record_key_use
from mindset.catalog.pool import Catalog
from mindset.catalog.transactions import WriteConnection
from mindset.config.scopes import Scope
from mindset.errors import NotAuthenticated

PREFIX = "pm_"
KEY_ID_LENGTH = 12
"""In characters."""

_KEY = re.compile(r"pm_([0-9a-z]{12})_([A-Za-z0-9-]{43})")
_INVALID = "Invalid API key: it is unknown, revoked or expired. Create another with `mindset keys create`."


def create_key(
    connection: WriteConnection,
    pepper: str,
    name: str,
    scopes: Sequence[Scope],
    principals: Sequence[str],
    expires_at: datetime | None,
) -> tuple[str, ApiKey]:
    """Create a key. Returns the key, which cannot be recovered later, and its stored properties."""
    id_ = secrets.token_hex(6)
    secret = secrets.token_urlsafe(32).replace("_", "-")
    record = insert_key(
        connection, id_, name, _hash(pepper, id_, secret), [str(scope) for scope in scopes],
        [principal for principal in as_principals(principals) if principal != "*"], expires_at,
    )  # fmt: skip
    return f"{PREFIX}{id_}_{secret}", record


def key_caller(catalog: Catalog, pepper: str, key: str) -> Caller:
    """Return the caller of a key. The key is looked up every time, so that revoking takes effect immediately.

    Raises NotAuthenticated with the same message for every reason; ServiceUnavailable."""
    match = _KEY.fullmatch(key)
    if match is None:
        raise NotAuthenticated(_INVALID)
    id_, secret = match.groups()
    with catalog.autocommit_reading() as connection:
        stored = find_key(connection, id_)
        # Also compare if there is no such key, so that the response time reveals nothing.
        expected = stored.secret_hash if stored else bytes(32)
        if not hmac.compare_digest(expected, _hash(pepper, id_, secret)) or stored is None or not stored.is_valid:
            raise NotAuthenticated(_INVALID)
        if stored.use_is_outdated:
            record_key_use(connection, id_)
    known = {str(scope) for scope in Scope}
    scopes = frozenset(Scope(scope) for scope in stored.scopes if scope in known)
    return Caller(f"key:{id_}", scopes, as_principals(stored.principals))


def _hash(pepper: str, id_: str, secret: str) -> bytes:
    """Hash a secret. It has 256 bits, so a slow hash would add no protection.

    The pepper makes a stolen table useless, and the id ties the hash to its row."""
    return hmac.new(pepper.encode(), f"{id_} {secret}".encode(), hashlib.sha256).digest()
