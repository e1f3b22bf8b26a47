"""The `options` of a Postgres URL, such as `?options=-c%20search_path%3Dmindset`, together with this project's own."""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet

import psycopg
from psycopg.conninfo import conninfo_to_dict

from mindset.errors import ConfigurationError

_SETTING = re.compile(r"(?:-c\s*|--)([A-Za-z_.-]+)\s*=")


def merged_options(url: str, own: str, fixed: AbstractSet[str] = frozenset()) -> str:
    """Return `own` followed by the URL's options, which therefore win.

    An argument of `psycopg.connect` would replace them silently. Raises ConfigurationError if the URL is invalid, or if it
    sets one of the `fixed` settings, on which statements depend."""
    try:
        given = str(conninfo_to_dict(url).get("options") or "")
    except psycopg.Error:  # its message may contain the password
        raise ConfigurationError(
            "MINDSET_POSTGRES_URL is not a valid URL. Write it as postgresql://user:password@host:5432/database."
        ) from None
    for name in _SETTING.findall(given):
        if name.lower().replace("-", "_") in fixed:
            raise ConfigurationError(
                f"The options of MINDSET_POSTGRES_URL set {name}, on which statements depend. Remove it from the URL."
            )
    return f"{own} {given}".strip()
