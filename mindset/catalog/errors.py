"""Translation of psycopg's errors into those of this project."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg_pool import PoolTimeout

from mindset.errors import RequestRejected, ServiceUnavailable

# SQLSTATE classes of a lost connection and of a server that is stopping or starting.
_CONNECTION_LOST = ("08", "57P")


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise ServiceUnavailable or RequestRejected for psycopg's errors, each with what to do about it."""
    try:
        yield
    except PoolTimeout:
        raise ServiceUnavailable(
            "Postgres provided no connection in time. Check MINDSET_POSTGRES_URL, that Postgres runs, and its load. "
            "If only this process has too few connections, raise MINDSET_POSTGRES_POOL_SIZE."
        ) from None
    except (psycopg.errors.QueryCanceled, psycopg.errors._WaitTimeout) as timeout:  # noqa: SLF001  # no public name
        raise ServiceUnavailable(
            "Postgres did not finish a statement in time. Try again; if searches need longer, raise retrieval.deadline_s."
        ) from timeout
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as outdated:
        raise ServiceUnavailable(
            f"The catalog's schema does not match this release: {outdated.diag.message_primary}. Run `mindset migrate`."
        ) from outdated
    except psycopg.DataError as invalid:
        raise RequestRejected(f"A value cannot be used in a query: {invalid}. Correct it.") from None
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        if isinstance(error, psycopg.errors.DiskFull):
            raise ServiceUnavailable(
                f"Postgres is out of disk space: {error.diag.message_primary}. Free some; the next night resumes."
            ) from error
        if error.sqlstate and not error.sqlstate.startswith(_CONNECTION_LOST):
            raise ServiceUnavailable(
                f"Postgres could not run a statement: {error}. Try again; check its load and its log."
            ) from error
        raise ServiceUnavailable(
            f"Postgres does not answer: {error}. Start it, or correct MINDSET_POSTGRES_URL."
        ) from error
