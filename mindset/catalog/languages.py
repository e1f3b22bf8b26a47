"""Text search configurations: what Postgres takes for one word, language by language."""

from __future__ import annotations

from mindset.catalog.connection import Connection, rows
from mindset.errors import ConfigurationError

# NULL, where a cast to regconfig would raise.
LANGUAGE = """(SELECT oid::regconfig FROM pg_ts_config
               WHERE cfgname = %(language)s AND pg_ts_config_is_visible(oid))"""


def check_language(connection: Connection, kb: str, language: str) -> None:
    """Raise ConfigurationError where Postgres has no text search configuration of that name."""
    if rows(connection, f"SELECT {LANGUAGE}", language=language) == [(None,)]:
        raise unknown_language(connection, kb, language)


def unknown_language(connection: Connection, kb: str, language: str) -> ConfigurationError:
    """The error that names those there are; also ones that the database was given by its owner."""
    known = rows(connection, "SELECT cfgname FROM pg_ts_config WHERE pg_ts_config_is_visible(oid) ORDER BY cfgname")
    return ConfigurationError(
        f"{kb}: chunking.language is {language!r}, and Postgres has no text search configuration of that name. "
        f"Use one that it has: {', '.join(name for (name,) in known)}."
    )
