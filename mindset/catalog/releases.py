"""Which version a channel serves, and what it served before."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mindset.catalog.connection import Connection, Writing, rows, scalar
from mindset.catalog.segments import Segment


@dataclass(frozen=True, slots=True)
class Release:
    """A version on a channel, for a while."""

    id: int
    channel: str
    version: int
    replaces: int | None
    released_by: str
    reason: str
    since: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Served:
    """What answering from a version needs: its model, its chunking and its segments."""

    version: int
    model: str
    dimension: int
    segments: tuple[Segment, ...]
    release: int | None
    epoch: int
    """Of the knowledge base's rights, at the moment this was read: what is cached under it shows nothing withdrawn before."""


def served(connection: Connection, kb: str, version: int | None = None, channel: str = "live") -> Served | None:
    """A version as it is searched: the one given, else the one on the channel; None where there is none, or it is retired.

    Of a retired one, parts may be gone."""
    found = rows(
        connection,
        """WITH chosen AS (
             SELECT coalesce(%(version)s, r.version) AS number, r.id AS release
             FROM (SELECT) AS one LEFT JOIN release r
               ON r.kb = %(kb)s AND r.channel = %(channel)s AND r.until IS NULL AND %(version)s::int IS NULL
           )
           SELECT v.number, v.model, v.dimension, chosen.release, k.epoch, s.id, s.collection, s.model, s.dimension, s.count
           FROM chosen
           JOIN version v ON v.kb = %(kb)s AND v.number = chosen.number AND v.state <> 'retired'
           JOIN knowledge_base k ON k.name = %(kb)s
           LEFT JOIN version_segment l ON l.kb = v.kb AND l.number = v.number
           LEFT JOIN segment s ON s.id = l.segment AND s.state = 'sealed'
           ORDER BY s.id""",
        kb=kb, version=version, channel=channel,
    )  # fmt: skip
    if not found:
        return None
    number, model, dimension, release, epoch = found[0][:5]
    segments = tuple(Segment(*each[5:]) for each in found if each[5] is not None)
    return Served(number, model, dimension, segments, release, epoch)


def live_version(connection: Connection, kb: str, channel: str = "live") -> int | None:
    """The version on a channel."""
    found = scalar(
        connection, "SELECT version FROM release WHERE kb = %s AND channel = %s AND until IS NULL", kb, channel
    )
    return None if found is None else int(found)


def live_release(connection: Connection, kb: str, channel: str = "live") -> int | None:
    """The id of the release on a channel."""
    found = scalar(connection, "SELECT id FROM release WHERE kb = %s AND channel = %s AND until IS NULL", kb, channel)
    return None if found is None else int(found)


def replaced_by_live(connection: Connection, kb: str, channel: str = "live") -> int | None:
    """The version that was on a channel before the one that is."""
    found = scalar(
        connection, "SELECT replaces FROM release WHERE kb = %s AND channel = %s AND until IS NULL", kb, channel
    )
    return None if found is None else int(found)


def lock_channel(connection: Writing, kb: str, channel: str) -> int | None:
    """The version on a channel, which nobody else can change before this transaction ends."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 2))", [f"release {kb} {channel}"])
    return live_version(connection, kb, channel)


def put_on_channel(connection: Writing, kb: str, channel: str, version: int, by: str, reason: str) -> int:
    """Make a version what the channel serves; returns the release's id. Call `lock_channel` before."""
    # Not now(), which is when the transaction began: it may have waited for the lock since, and for the last release.
    ended = rows(
        connection,
        """UPDATE release SET until = greatest(since, clock_timestamp())
           WHERE kb = %(kb)s AND channel = %(channel)s AND until IS NULL RETURNING version, until""",
        kb=kb,
        channel=channel,
    )
    replaced, moment = ended[0] if ended else (None, None)
    return int(
        scalar(
            connection,
            """INSERT INTO release (kb, channel, version, replaces, released_by, reason, since)
               VALUES (%s, %s, %s, %s, %s, %s, coalesce(%s, clock_timestamp())) RETURNING id""",
            kb, channel, version, replaced, by, reason, moment,
        )
    )  # fmt: skip


def list_releases(connection: Connection, kb: str, limit: int = 50, before: int | None = None) -> list[Release]:
    """The newest releases first, of those before one."""
    found = rows(
        connection,
        """SELECT id, channel, version, replaces, released_by, reason, since, until FROM release
           WHERE kb = %(kb)s AND (%(before)s::bigint IS NULL OR id < %(before)s) ORDER BY id DESC LIMIT %(limit)s""",
        kb=kb,
        limit=limit,
        before=before,
    )
    return [Release(*each) for each in found]


def record(connection: Writing, kb: str, actor: str, action: str, detail: dict[str, Any]) -> None:
    """Write down who did what, in the transaction that did it."""
    connection.execute(
        "INSERT INTO audit (kb, actor, action, detail) VALUES (%s, %s, %s, %s)", [kb, actor, action, json.dumps(detail)]
    )
