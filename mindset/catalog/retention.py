"""Retention: delete history by age once no release or version needs it."""

from __future__ import annotations

from dataclasses import dataclass

from mindset.catalog.build import BuildConnection


@dataclass(frozen=True)
class Retention:
    """How many days history is kept."""

    question_days: int = 90
    """The metrics of an evaluation's single questions."""

    history_days: int = 365
    """Retired versions with their evaluations and releases, and revoked or expired API keys."""

    audit_days: int = 730
    """Entries of the audit log."""


@dataclass(frozen=True, slots=True)
class ExpiredCounts:
    """The number of rows deleted from each table."""

    evaluation_questions: int
    evaluations: int
    releases: int
    versions: int
    segments: int
    audit: int
    api_keys: int


def delete_expired(connection: BuildConnection, kb: str, retention: Retention) -> ExpiredCounts:
    """Delete what is older than the retention. Versions that are not retired keep their evaluations and releases.

    A retired version's row remains while a placement began or ended with it, since intervals refer to it."""
    expired = {"kb": kb, "days": retention.history_days}
    old_versions = """kb = %(kb)s AND state = 'retired' AND ready_at < now() - make_interval(days => %(days)s)"""
    questions = connection.execute(
        """DELETE FROM evaluation_question q USING evaluation e
           WHERE e.id = q.evaluation_id AND e.kb = %s AND e.created_at < now() - make_interval(days => %s)""",
        [kb, retention.question_days],
    ).rowcount
    # Also of younger evaluations of old versions, so that the evaluations can be deleted.
    questions += connection.execute(
        f"""DELETE FROM evaluation_question q USING evaluation e
            WHERE e.id = q.evaluation_id AND e.kb = %(kb)s
              AND e.version IN (SELECT number FROM version WHERE {old_versions})""",  # noqa: S608  # a constant
        expired,
    ).rowcount
    evaluations = connection.execute(
        f"""DELETE FROM evaluation WHERE kb = %(kb)s
              AND version IN (SELECT number FROM version WHERE {old_versions})""",  # noqa: S608  # a constant
        expired,
    ).rowcount
    releases = connection.execute(
        f"""DELETE FROM release WHERE kb = %(kb)s AND replaced_at < now() - make_interval(days => %(days)s)
              AND version IN (SELECT number FROM version WHERE {old_versions})""",  # noqa: S608  # a constant
        expired,
    ).rowcount
    # Nothing searches a retired version, and the collections of its segments may be dropped already.
    connection.execute(
        """DELETE FROM version_segment l USING version v
           WHERE v.kb = %s AND v.state = 'retired' AND l.kb = v.kb AND l.number = v.number""",
        [kb],
    )
    segments = connection.execute(
        """DELETE FROM segment s WHERE s.kb = %s AND s.state = 'dropped'
             AND NOT EXISTS (SELECT FROM version_segment l WHERE l.segment_id = s.id)
             AND NOT EXISTS (SELECT FROM segment_chunk c WHERE c.segment_id = s.id)""",
        [kb],
    ).rowcount
    versions = connection.execute(
        f"""DELETE FROM version v WHERE {old_versions}
              AND NOT EXISTS (SELECT FROM placement p WHERE p.kb = v.kb AND p.valid_from = v.number)
              AND NOT EXISTS (SELECT FROM placement p WHERE p.kb = v.kb AND p.valid_to = v.number)
              AND NOT EXISTS (SELECT FROM release r WHERE r.kb = v.kb AND r.version = v.number)
              AND NOT EXISTS (
                SELECT FROM evaluation e WHERE e.kb = v.kb AND v.number IN (e.version, e.baseline))""",  # noqa: S608
        expired,
    ).rowcount
    audit = connection.execute(
        "DELETE FROM audit WHERE kb = %s AND at < now() - make_interval(days => %s)", [kb, retention.audit_days]
    ).rowcount
    api_keys = connection.execute(
        "DELETE FROM api_key WHERE least(revoked_at, expires_at) < now() - make_interval(days => %s)",
        [retention.history_days],
    ).rowcount
    return ExpiredCounts(questions, evaluations, releases, versions, segments, audit, api_keys)
