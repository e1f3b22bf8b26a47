"""Versions: what builds made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from mindset.catalog.connection import Connection, Writing, rows, scalar
from mindset.errors import UnknownVersion


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a knowledge base; counts are known once it is ready."""

    number: int
    state: str
    model: str
    dimension: int
    chunking: str
    documents: int | None
    chunks: int | None
    created_at: datetime
    ready_at: datetime | None


_COLUMNS: LiteralString = "number, state, model, dimension, chunking, documents, chunks, created_at, ready_at"


def building_version(connection: Connection, kb: str) -> Version | None:
    """The version that a build has begun and not finished."""
    found = rows(connection, f"SELECT {_COLUMNS} FROM version WHERE kb = %(kb)s AND state = 'building'", kb=kb)  # noqa: S608
    return Version(*found[0]) if found else None


def newest_version(connection: Connection, kb: str) -> Version | None:
    """The last version that a build has finished, whatever became of it."""
    found = rows(
        connection,
        f"SELECT {_COLUMNS} FROM version WHERE kb = %(kb)s AND state <> 'building' ORDER BY number DESC LIMIT 1",  # noqa: S608
        kb=kb,
    )
    return Version(*found[0]) if found else None


def get_version(connection: Connection, kb: str, number: int) -> Version | None:
    """One version, if there is such."""
    found = rows(
        connection,
        f"SELECT {_COLUMNS} FROM version WHERE kb = %(kb)s AND number = %(number)s",  # noqa: S608
        kb=kb,
        number=number,
    )
    return Version(*found[0]) if found else None


def list_versions(connection: Connection, kb: str, limit: int = 50, before: int | None = None) -> list[Version]:
    """The newest versions first, of those before one."""
    found = rows(
        connection,
        f"SELECT {_COLUMNS} FROM version WHERE kb = %(kb)s AND (%(before)s::int IS NULL OR number < %(before)s) "  # noqa: S608
        "ORDER BY number DESC LIMIT %(limit)s",
        kb=kb,
        limit=limit,
        before=before,
    )
    return [Version(*each) for each in found]


def begin_version(connection: Writing, kb: str, model: str, dimension: int, chunking: str, flow_run: str | None) -> int:
    """Begin the next version, or go on with the one that was begun; returns its number."""
    _take_over(connection, kb)
    resumed = scalar(
        connection,
        """UPDATE version SET model = %s, dimension = %s, chunking = %s, flow_run = %s
           WHERE kb = %s AND state = 'building' RETURNING number""",
        model, dimension, chunking, flow_run, kb,
    )  # fmt: skip
    if resumed:
        return int(resumed)
    return int(
        scalar(
            connection,
            """INSERT INTO version (kb, number, state, model, dimension, chunking, flow_run)
               SELECT %s, coalesce(max(number), 0) + 1, 'building', %s, %s, %s, %s FROM version WHERE kb = %s
               RETURNING number""",
            kb, model, dimension, chunking, flow_run, kb,
        )
    )  # fmt: skip


def hold_version(connection: Writing, kb: str, number: int, flow_run: str | None) -> None:
    """Keep a version in the making, and this run's, until the transaction ends.

    Raises UnknownVersion where another run has finished it or goes on with it: this one has lost the build lock since."""
    # Not FOR SHARE: who keeps sharing a row lets nobody change it. An advisory lock's queue lets the one who takes over go first.
    connection.execute("SELECT pg_advisory_xact_lock_shared(hashtextextended(%s, 6))", [f"version of {kb}"])
    held = scalar(
        connection,
        """SELECT true FROM version
           WHERE kb = %s AND number = %s AND state = 'building' AND flow_run IS NOT DISTINCT FROM %s""",
        kb, number, flow_run,
    )  # fmt: skip
    if not held:
        raise UnknownVersion(
            f"Version {number} of {kb} is no longer in the making by this run: another one has taken it over. Wait for that one."
        )


def _take_over(connection: Writing, kb: str) -> None:
    """Wait for who holds the version in the making, and keep others from it until the transaction ends."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 6))", [f"version of {kb}"])


def first_unbuilt(connection: Connection, kb: str, version: int, model: str) -> int:
    """From which version on placements may lack vectors and segments: the version itself, where it only adds to the last.

    1 where that one was built with another model: then nothing has a vector yet. Raises UnknownVersion where the version
    itself was begun with another: the definition changed since."""
    begun = get_version(connection, kb, version)
    if begun is None or begun.model != model:
        raise UnknownVersion(
            f"Version {version} of {kb} was begun with the model {begun and begun.model}, and the definition names "
            f"{model} now. Run the night again: it goes on with the new one."
        )
    before = newest_version(connection, kb)
    return version if before and before.model == model else 1


def finish_version(connection: Writing, kb: str, number: int) -> None:
    """Count a built version and make it ready. Raises UnknownVersion where another build has ended it meanwhile."""
    _take_over(connection, kb)
    before = newest_version(connection, kb)
    changes = difference(connection, kb, before.number if before else None, number)
    documents = len(changes.documents_added) - len(changes.documents_removed)
    chunks = changes.chunks_added - changes.chunks_removed
    if before:
        documents, chunks = documents + (before.documents or 0), chunks + (before.chunks or 0)
    finished = connection.execute(
        """UPDATE version SET state = 'ready', ready_at = now(), documents = %s, chunks = %s
           WHERE kb = %s AND number = %s AND state = 'building'""",
        [documents, chunks, kb, number],
    ).rowcount
    if not finished:
        raise UnknownVersion(f"Version {number} of {kb} is no longer in the making. Run the night again.")


def set_state(connection: Writing, kb: str, number: int, state: str) -> None:
    """Make a version `ready` or `rejected`; one that is in the making or retired stays so."""
    connection.execute(
        "UPDATE version SET state = %s WHERE kb = %s AND number = %s AND state NOT IN ('building', 'retired')",
        [state, kb, number],
    )


def pending_version(connection: Connection, kb: str) -> int | None:
    """The newest version, if it is ready and was never live: a build whose evaluation or release is still to come."""
    found = scalar(
        connection,
        """SELECT v.number FROM version v
           WHERE v.kb = %s AND v.state = 'ready'
             AND v.number = (SELECT max(number) FROM version WHERE kb = v.kb AND state <> 'building')
             AND NOT EXISTS (SELECT FROM release r WHERE r.kb = v.kb AND r.version = v.number AND r.channel = 'live')""",
        kb,
    )
    return None if found is None else int(found)


def retire_versions(connection: Writing, kb: str, keep: int) -> list[int]:
    """Retire finished versions but the newest `keep`, as many that can be rolled back to, and those on a channel.

    Returns their numbers. Nights that are rejected one after the other must not retire every way back."""
    retired = connection.execute(
        """UPDATE version v SET state = 'retired'
           WHERE v.kb = %(kb)s AND v.state IN ('ready', 'rejected')
             AND v.number NOT IN (
               SELECT number FROM version WHERE kb = %(kb)s AND state <> 'building' ORDER BY number DESC LIMIT %(keep)s)
             AND v.number NOT IN (
               SELECT number FROM version WHERE kb = %(kb)s AND state = 'ready' ORDER BY number DESC LIMIT %(keep)s)
             AND NOT EXISTS (
               SELECT FROM release r WHERE r.kb = v.kb AND r.version = v.number AND r.until IS NULL)
           RETURNING number""",
        {"kb": kb, "keep": keep},
    ).fetchall()
    return sorted(number for (number,) in retired)


@dataclass(frozen=True, slots=True)
class Difference:
    """What one version shows and another does not, by documents and chunks."""

    documents_added: list[str]
    documents_changed: list[str]
    documents_removed: list[str]
    chunks_added: int
    chunks_removed: int


def difference(connection: Connection, kb: str, old: int | None, new: int) -> Difference:
    """What changed from one version to another; without an old one, everything is new.

    Costs what changed: it looks at what was opened and what ended between the two."""
    low, high = sorted((old or 0, new))
    documents = rows(
        connection,
        """WITH touched AS (
             SELECT uri FROM placement WHERE kb = %(kb)s AND since > %(low)s AND since <= %(high)s
             UNION SELECT uri FROM placement WHERE kb = %(kb)s AND until > %(low)s AND until <= %(high)s
           ), shown AS (
             SELECT uri, content_hash,
               since <= %(old)s AND (until IS NULL OR until > %(old)s) AS before,
               since <= %(new)s AND (until IS NULL OR until > %(new)s) AS after
             FROM placement JOIN touched USING (uri) WHERE kb = %(kb)s
           ), per_document AS (
             SELECT uri, bool_or(before) AS before, bool_or(after) AS after,
               array_agg(DISTINCT content_hash) FILTER (WHERE before)
                 IS DISTINCT FROM array_agg(DISTINCT content_hash) FILTER (WHERE after) AS changed
             FROM shown WHERE before OR after GROUP BY uri
           )
           SELECT uri, before, after FROM per_document WHERE changed ORDER BY uri""",
        kb=kb, old=old or 0, new=new, low=low, high=high,
    )  # fmt: skip
    chunks = rows(
        connection,
        """WITH touched AS (
             SELECT chunk FROM placement WHERE kb = %(kb)s AND since > %(low)s AND since <= %(high)s
             UNION SELECT chunk FROM placement WHERE kb = %(kb)s AND until > %(low)s AND until <= %(high)s
           )
           SELECT count(*) FILTER (WHERE after AND NOT before), count(*) FILTER (WHERE before AND NOT after)
           FROM (
             SELECT bool_or(since <= %(old)s AND (until IS NULL OR until > %(old)s)) AS before,
                    bool_or(since <= %(new)s AND (until IS NULL OR until > %(new)s)) AS after
             FROM placement JOIN touched USING (chunk) WHERE kb = %(kb)s GROUP BY chunk
           ) AS each""",
        kb=kb, old=old or 0, new=new, low=low, high=high,
    )  # fmt: skip
    return Difference(
        [uri for uri, before, after in documents if after and not before],
        [uri for uri, before, after in documents if before and after],
        [uri for uri, before, after in documents if before and not after],
        *chunks[0],
    )
