"""API keys: `pm_<id>_<secret>`, shown once, kept as a keyed hash."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from datetime import datetime

from mindset.access.caller import Caller, Scope, as_principals
from mindset.catalog.connection import Catalog, Writing
from mindset.catalog.keys import KeyRecord, find_key, insert_key, note_use
from mindset.errors import NotAuthenticated

PREFIX = "pm_"
_KEY = re.compile(r"pm_([0-9a-z]{12})_([A-Za-z0-9-]{43})")
_WRONG = "The API key does not count: it is unknown, revoked or expired. Ask for another: `mindset keys create`."


def create_key(
    connection: Writing,
    pepper: str,
    name: str,
    scopes: Sequence[Scope],
    principals: Sequence[str],
    expires_at: datetime | None,
) -> tuple[str, KeyRecord]:
    """The key, which nobody can be told again, and what is kept of it."""
    id_ = secrets.token_hex(6)
    secret = secrets.token_urlsafe(32).replace("_", "-")
    record = insert_key(
        connection, id_, name, _hashed(pepper, id_, secret), [str(each) for each in scopes],
        [each for each in as_principals(principals) if each != "*"], expires_at,
    )  # fmt: skip
    return f"{PREFIX}{id_}_{secret}", record


def key_caller(catalog: Catalog, pepper: str, key: str) -> Caller:
    """Who a key stands for. It is looked up each time, so that a revoked one is refused at once.

    Raises NotAuthenticated, the same whatever is wrong; ServiceUnavailable."""
    form = _KEY.fullmatch(key)
    if form is None:
        raise NotAuthenticated(_WRONG)
    id_, secret = form.groups()
    with catalog.glancing() as connection:
        found = find_key(connection, id_)
        # Compared also where there is no such key: the time it takes says nothing.
        expected = found.secret_hash if found else bytes(32)
        if not hmac.compare_digest(expected, _hashed(pepper, id_, secret)) or found is None or not found.counts:
            raise NotAuthenticated(_WRONG)
        if found.use_is_old:
            note_use(connection, id_)
    known = {str(scope) for scope in Scope}
    scopes = frozenset(Scope(each) for each in found.scopes if each in known)
    return Caller(f"key:{id_}", scopes, as_principals(found.principals))


def _hashed(pepper: str, id_: str, secret: str) -> bytes:
    """The secret has 256 bits of its own, so a slow hash would protect nothing more; the pepper makes a stolen table
    useless. The id is part of it: a hash is of no use in another row."""
    return hmac.new(pepper.encode(), f"{id_} {secret}".encode(), hashlib.sha256).digest()
