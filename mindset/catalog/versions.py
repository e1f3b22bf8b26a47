"""Versions: the results of builds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from mindset.catalog.build import BuildConnection
from mindset.catalog.transactions import Connection, WriteConnection, rows, scalar
from mindset.config.ranking import RankingOptions
from mindset.errors import UnknownVersion


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a knowledge base; the counts are None until it is ready."""

    number: int
    state: str
    model: str
    dimension: int
    chunking: str
    documents: int | None
    chunks: int | None
    created_at: datetime
    ready_at: datetime | None
    ranking: RankingOptions


_COLUMNS: LiteralString = "number, state, model, dimension, chunking, documents, chunks, created_at, ready_at, ranking"


def _version(row: tuple[Any, ...]) -> Version:
    columns: list[Any] = [*row[:-1], RankingOptions.model_validate(row[-1])]
    return Version(*columns)


def building_version(connection: Connection, kb: str) -> Version | None:
    """Return the version that is being built."""
    found = rows(connection, f"SELECT {_COLUMNS} FROM version WHERE kb = %(kb)s AND state = 'building'", kb=kb)  # noqa: S608
    return _version(found[0]) if found else None


def newest_version(connection: Connection, kb: str) -> Version | None:
    """Return the last finished version, whatever its state."""
    found = rows(
        connection,
        f"SELECT {_COLUMNS} FROM version WHERE kb = %(kb)s AND state <> 'building' ORDER BY number DESC LIMIT 1",  # noqa: S608
        kb=kb,
    )
    return _version(found[0]) if found else None


def get_version(connection: Connection, kb: str, number: int) -> Version | None:
    """Return a version by its number."""
    found = rows(
        connection,
        f"SELECT {_COLUMNS} FROM version WHERE kb = %(kb)s AND number = %(number)s",  # noqa: S608
        kb=kb,
        number=number,
    )
    return _version(found[0]) if found else None


def finished_version(connection: Connection, kb: str, number: int) -> Version:
    """Return a version that can be searched, compared and released.

    Raises UnknownVersion if it is missing or still being built, or if it is retired, since parts of it may be deleted."""
    version = get_version(connection, kb, number)
    if version is None or version.state in ("building", "retired"):
        state = f"is {version.state}" if version else "does not exist"
        raise UnknownVersion(f"Version {number} of {kb} {state}. `mindset releases {kb}` lists the available ones.")
    return version


def list_versions(connection: Connection, kb: str, limit: int = 50, before: int | None = None) -> list[Version]:
    """Return versions, newest first; with `before`, only those older than that version."""
    found = rows(
        connection,
        f"SELECT {_COLUMNS} FROM version WHERE kb = %(kb)s AND (%(before)s::int IS NULL OR number < %(before)s) "  # noqa: S608
        "ORDER BY number DESC LIMIT %(limit)s",
        kb=kb,
        limit=limit,
        before=before,
    )
    return [_version(row) for row in found]


def begin_version(
    connection: BuildConnection,
    kb: str,
    model: str,
    dimension: int,
    chunking: str,
    ranking: RankingOptions,
    flow_run: str | None,
) -> int:
    """Begin the next version, or resume the one that is being built, and return its number."""
    stored_ranking = Jsonb(ranking.model_dump(mode="json"))
    resumed = scalar(
        connection,
        """UPDATE version SET model = %s, dimension = %s, chunking = %s, ranking = %s, flow_run = %s
           WHERE kb = %s AND state = 'building' RETURNING number""",
        model, dimension, chunking, stored_ranking, flow_run, kb,
    )  # fmt: skip
    if resumed:
        return int(resumed)
    return int(
        scalar(
            connection,
            """INSERT INTO version (kb, number, state, model, dimension, chunking, ranking, flow_run)
               SELECT %s, coalesce(max(number), 0) + 1, 'building', %s, %s, %s, %s, %s FROM version WHERE kb = %s
               RETURNING number""",
            kb, model, dimension, chunking, stored_ranking, flow_run, kb,
        )
    )  # fmt: skip


def check_building(connection: BuildConnection, kb: str, number: int) -> None:
    """Raise UnknownVersion unless the version is still being built; it stays so until the transaction ends."""
    building = scalar(
        connection, "SELECT true FROM version WHERE kb = %s AND number = %s AND state = 'building'", kb, number
    )
    if not building:
        raise UnknownVersion(
            f"Version {number} of {kb} is no longer being built: another process of this build has finished it."
        )


def first_unindexed_version(connection: Connection, kb: str, version: int, model: str) -> int:
    """Return the first version whose placements may lack vectors and segments.

    That is the version itself, or 1 if the previous version was built with another model, so that nothing has a vector
    yet. Raises UnknownVersion if this version was begun with another model, because the definition changed since."""
    current = get_version(connection, kb, version)
    if current is None or current.model != model:
        raise UnknownVersion(
            f"Version {version} of {kb} was begun with the model {current and current.model}, but the definition now names "
            f"{model}. Run the night again; it continues with the new model."
        )
    previous = newest_version(connection, kb)
    return version if previous and previous.model == model else 1


def finish_version(connection: BuildConnection, kb: str, number: int) -> None:
    """Store the counts of a built version and mark it as ready.

    Call it in a transaction that runs alone, so that nothing is placed meanwhile. Raises UnknownVersion if another process
    of this build has finished it."""
    previous = newest_version(connection, kb)
    changes = difference(connection, kb, previous.number if previous else None, number)
    documents = len(changes.documents_added) - len(changes.documents_removed)
    chunks = changes.chunks_added - changes.chunks_removed
    if previous:
        documents, chunks = documents + (previous.documents or 0), chunks + (previous.chunks or 0)
    finished = connection.execute(
        """UPDATE version SET state = 'ready', ready_at = now(), documents = %s, chunks = %s
           WHERE kb = %s AND number = %s AND state = 'building'""",
        [documents, chunks, kb, number],
    ).rowcount
    if not finished:
        raise UnknownVersion(f"Version {number} of {kb} is no longer being built. Run the night again.")


def set_state(connection: WriteConnection, kb: str, number: int, state: str) -> None:
    """Set a version to `ready` or `rejected`, unless it is being built or retired."""
    connection.execute(
        "UPDATE version SET state = %s WHERE kb = %s AND number = %s AND state NOT IN ('building', 'retired')",
        [state, kb, number],
    )


def pending_version(connection: Connection, kb: str) -> int | None:
    """Return the newest version if it is ready but was never live: its evaluation or release is still due."""
    found = scalar(
        connection,
        """SELECT v.number FROM version v
           WHERE v.kb = %s AND v.state = 'ready'
             AND v.number = (SELECT max(number) FROM version WHERE kb = v.kb AND state <> 'building')
             AND NOT EXISTS (SELECT FROM release r WHERE r.kb = v.kb AND r.version = v.number AND r.channel = 'live')""",
        kb,
    )
    return None if found is None else int(found)


def retire_versions(connection: BuildConnection, kb: str, keep: int) -> list[int]:
    """Retire finished versions and return their numbers.

    Keeps the newest `keep` versions, the newest `keep` ready ones, and those on a channel: a series of rejected versions
    must not retire every rollback target."""
    retired = connection.execute(
        """UPDATE version v SET state = 'retired'
           WHERE v.kb = %(kb)s AND v.state IN ('ready', 'rejected')
             AND v.number NOT IN (
               SELECT number FROM version WHERE kb = %(kb)s AND state <> 'building' ORDER BY number DESC LIMIT %(keep)s)
             AND v.number NOT IN (
               SELECT number FROM version WHERE kb = %(kb)s AND state = 'ready' ORDER BY number DESC LIMIT %(keep)s)
             AND NOT EXISTS (
               SELECT FROM release r WHERE r.kb = v.kb AND r.version = v.number AND r.replaced_at IS NULL)
           RETURNING number""",
        {"kb": kb, "keep": keep},
    ).fetchall()
    return sorted(number for (number,) in retired)


@dataclass(frozen=True, slots=True)
class Difference:
    """The documents and chunks that differ between two versions."""

    documents_added: list[str]
    documents_changed: list[str]
    documents_removed: list[str]
    chunks_added: int
    chunks_removed: int


def difference(connection: Connection, kb: str, old: int | None, new: int) -> Difference:
    """Compare two versions; without an old one, everything is new.

    The cost grows with the number of changes: only placements opened or closed between the two are read."""
    low, high = sorted((old or 0, new))
    documents = rows(
        connection,
        """WITH touched AS (
             SELECT uri FROM placement WHERE kb = %(kb)s AND valid_from > %(low)s AND valid_from <= %(high)s
             UNION SELECT uri FROM placement WHERE kb = %(kb)s AND valid_to > %(low)s AND valid_to <= %(high)s
           ), state AS (
             SELECT uri, content_hash,
               valid_from <= %(old)s AND (valid_to IS NULL OR valid_to > %(old)s) AS before,
               valid_from <= %(new)s AND (valid_to IS NULL OR valid_to > %(new)s) AS after
             FROM placement JOIN touched USING (uri) WHERE kb = %(kb)s
           ), per_document AS (
             SELECT uri, bool_or(before) AS before, bool_or(after) AS after,
               array_agg(DISTINCT content_hash) FILTER (WHERE before)
                 IS DISTINCT FROM array_agg(DISTINCT content_hash) FILTER (WHERE after) AS changed
             FROM state WHERE before OR after GROUP BY uri
           )
           SELECT uri, before, after FROM per_document WHERE changed ORDER BY uri""",
        kb=kb, old=old or 0, new=new, low=low, high=high,
    )  # fmt: skip
    chunks = rows(
        connection,
        """WITH touched AS (
             SELECT chunk_id FROM placement WHERE kb = %(kb)s AND valid_from > %(low)s AND valid_from <= %(high)s
             UNION SELECT chunk_id FROM placement WHERE kb = %(kb)s AND valid_to > %(low)s AND valid_to <= %(high)s
           )
           SELECT count(*) FILTER (WHERE after AND NOT before), count(*) FILTER (WHERE before AND NOT after)
           FROM (
             SELECT bool_or(valid_from <= %(old)s AND (valid_to IS NULL OR valid_to > %(old)s)) AS before,
                    bool_or(valid_from <= %(new)s AND (valid_to IS NULL OR valid_to > %(new)s)) AS after
             FROM placement JOIN touched USING (chunk_id) WHERE kb = %(kb)s GROUP BY chunk_id
           ) AS chunk_state""",
        kb=kb, old=old or 0, new=new, low=low, high=high,
    )  # fmt: skip
    return Difference(
        [uri for uri, before, after in documents if after and not before],
        [uri for uri, before, after in documents if before and after],
        [uri for uri, before, after in documents if before and not after],
        *chunks[0],
    )
