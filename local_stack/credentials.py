"""The passwords of a stack's servers: generated once, kept in its directory, readable by its user only."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final

from local_stack.addresses import without_password
from mindset.errors import StackError

USER: Final = "mindset"
"""The user name in the addresses of servers that only check a password."""
PAGE_PARAMETER: Final = "key"
"""The query parameter of the link that opens Prefect's page."""
_FILE: Final = "credentials.json"


@dataclass(frozen=True, repr=False)
class Credentials:
    """One password per server, of characters that need no quoting in a URL."""

    postgres: str
    valkey: str
    chroma: str
    prefect: str


def load_or_create(directory: Path) -> Credentials:
    """Return the directory's passwords; generate them at its first start. Raises StackError for an unusable file."""
    path = directory / _FILE
    names = [field.name for field in fields(Credentials)]
    try:
        return Credentials(**json.loads(path.read_text()))
    except FileNotFoundError:
        created = Credentials(**{name: secrets.token_urlsafe(24) for name in names})
    except (OSError, ValueError, TypeError) as error:
        raise StackError(f"The passwords in {path} cannot be read ({error}). Correct or delete the file.") from None
    temporary = path.with_suffix(".new")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(asdict(created), file)
    temporary.replace(path)
    return created


def page_key(password: str) -> str:
    """Return the key that opens Prefect's page in a browser. The password cannot be derived from it.

    Browsers send cookies to all ports of a host, so the cookie must not be the password."""
    return hmac.digest(password.encode(), b"page", hashlib.sha256).hex()[:32]


def page_link(prefect_api_url: str, path: str = "/") -> str:
    """Return the link that opens Prefect's page. Only the page of the stack's own Prefect needs a key."""
    url, user_and_password = without_password(prefect_api_url.removesuffix("/api"))
    user, _, password = (user_and_password or "").partition(":")
    return f"{url}{path}?{PAGE_PARAMETER}={page_key(password)}" if user == USER else f"{url}{path.rstrip('/')}"
