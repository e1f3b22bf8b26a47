"""Releases: which version a channel serves, and which it served before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mindset.catalog.segments import Segment
from mindset.catalog.transactions import Connection, WriteConnection, rows, scalar
from mindset.config.ranking import RankingOptions


@dataclass(frozen=True, slots=True)
class Release:
    """A version on a channel; `replaced_at` is None while it is the current one."""

    id: int
    channel: str
    version: int
    replaces: int | None
    released_by: str
    reason: str
    released_at: datetime
    replaced_at: datetime | None


@dataclass(frozen=True, slots=True)
class VersionSnapshot:
    """What a search reads of a version: its model, its ranking options and its segments."""

    version: int
    model: str
    dimension: int
    ranking: RankingOptions
    segments: tuple[Segment, ...]
    release: int | None
    rights_epoch: int
    """The knowledge base's rights epoch when this was read. Results cached under it contain no document that was taken
    down or restricted earlier."""
    installation: str
    """The installation's id when this was read. Results cached under it are not those of a copy of its database."""


def version_snapshot(
    connection: Connection, kb: str, version: int | None = None, channel: str = "live"
) -> VersionSnapshot | None:
    """Return a snapshot of the given version, or else of the channel's current one.

    None if there is no such version, if it is still being built, or if it is retired, since parts of it may be deleted."""
    found = rows(
        connection,
        """WITH chosen AS (
             SELECT coalesce(%(version)s, r.version) AS number, r.id AS release
             FROM (SELECT) AS one LEFT JOIN release r
               ON r.kb = %(kb)s AND r.channel = %(channel)s AND r.replaced_at IS NULL AND %(version)s::int IS NULL
           )
           SELECT v.number, v.model, v.dimension, v.ranking, chosen.release, k.rights_epoch,
             (SELECT id FROM installation), s.id, s.collection, s.model, s.dimension, s.count
           FROM chosen
           JOIN version v ON v.kb = %(kb)s AND v.number = chosen.number AND v.state NOT IN ('building', 'retired')
           JOIN knowledge_base k ON k.name = %(kb)s
           LEFT JOIN version_segment l ON l.kb = v.kb AND l.number = v.number
           LEFT JOIN segment s ON s.id = l.segment_id AND s.state = 'sealed'
           ORDER BY s.id""",
        kb=kb, version=version, channel=channel,
    )  # fmt: skip
    if not found:
        return None
    number, model, dimension, ranking, release, rights_epoch, installation = found[0][:7]
    segments = tuple(Segment(*row[7:]) for row in found if row[7] is not None)
    return VersionSnapshot(
        number, model, dimension, RankingOptions.model_validate(ranking), segments, release, rights_epoch, installation
    )


def current_release(connection: Connection, kb: str, channel: str = "live") -> Release | None:
    """Return the channel's current release."""
    found = rows(
        connection,
        """SELECT id, channel, version, replaces, released_by, reason, released_at, replaced_at FROM release
           WHERE kb = %(kb)s AND channel = %(channel)s AND replaced_at IS NULL""",
        kb=kb,
        channel=channel,
    )
    return Release(*found[0]) if found else None


def rollback_version(connection: Connection, kb: str) -> int | None:
    """Return the most recently live version that is still ready: not live, retired or rejected since."""
    version = scalar(
        connection,
        """SELECT r.version FROM release r JOIN version v ON v.kb = r.kb AND v.number = r.version
           WHERE r.kb = %s AND r.channel = 'live' AND v.state = 'ready' AND NOT EXISTS (
             SELECT FROM release live WHERE live.kb = r.kb AND live.channel = 'live' AND live.replaced_at IS NULL
               AND live.version = r.version)
           ORDER BY r.id DESC LIMIT 1""",
        kb,
    )
    return None if version is None else int(version)


def live_version(connection: Connection, kb: str, channel: str = "live") -> int | None:
    """Return the channel's current version."""
    version = scalar(
        connection, "SELECT version FROM release WHERE kb = %s AND channel = %s AND replaced_at IS NULL", kb, channel
    )
    return None if version is None else int(version)


def live_release(connection: Connection, kb: str, channel: str = "live") -> int | None:
    """Return the id of the channel's current release."""
    release = scalar(
        connection, "SELECT id FROM release WHERE kb = %s AND channel = %s AND replaced_at IS NULL", kb, channel
    )
    return None if release is None else int(release)


def previous_live_version(connection: Connection, kb: str, channel: str = "live") -> int | None:
    """Return the version that the channel's current release replaced."""
    version = scalar(
        connection, "SELECT replaces FROM release WHERE kb = %s AND channel = %s AND replaced_at IS NULL", kb, channel
    )
    return None if version is None else int(version)


def lock_channel(connection: WriteConnection, kb: str, channel: str) -> int | None:
    """Lock a channel until the transaction ends and return its current version."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 2))", [f"release {kb} {channel}"])
    return live_version(connection, kb, channel)


def release_version(connection: WriteConnection, kb: str, channel: str, version: int, by: str, reason: str) -> int:
    """Make a version the channel's current one and return the release's id. Call `lock_channel` first."""
    # Not now(), which is the start of the transaction: since then it may have waited for the lock and for a later release.
    replaced_rows = rows(
        connection,
        """UPDATE release SET replaced_at = greatest(released_at, clock_timestamp())
           WHERE kb = %(kb)s AND channel = %(channel)s AND replaced_at IS NULL RETURNING version, replaced_at""",
        kb=kb,
        channel=channel,
    )
    replaced, replaced_at = replaced_rows[0] if replaced_rows else (None, None)
    return int(
        scalar(
            connection,
            """INSERT INTO release (kb, channel, version, replaces, released_by, reason, released_at)
               VALUES (%s, %s, %s, %s, %s, %s, coalesce(%s, clock_timestamp())) RETURNING id""",
            kb, channel, version, replaced, by, reason, replaced_at,
        )
    )  # fmt: skip


def list_releases(connection: Connection, kb: str, limit: int = 50, before: int | None = None) -> list[Release]:
    """Return releases, newest first; with `before`, only those older than that release."""
    found = rows(
        connection,
        """SELECT id, channel, version, replaces, released_by, reason, released_at, replaced_at FROM release
           WHERE kb = %(kb)s AND (%(before)s::bigint IS NULL OR id < %(before)s) ORDER BY id DESC LIMIT %(limit)s""",
        kb=kb,
        limit=limit,
        before=before,
    )
    return [Release(*row) for row in found]
