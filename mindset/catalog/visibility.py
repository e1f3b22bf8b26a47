"""Visibility: which placements of a version a caller may read. Everything that reads passages uses this condition."""

from __future__ import annotations

from mindset.catalog.filters import Filter, SqlCondition, sql_condition

# The placement belongs to the version, the document is not taken down, and the caller has one of its principals.
VISIBLE = """p.valid_from <= %(version)s AND (p.valid_to IS NULL OR p.valid_to > %(version)s)
    AND d.taken_down_at IS NULL AND d.acl && %(principals)s::text[]"""


def visibility(where: Filter | None) -> SqlCondition:
    """Return the condition over a placement `p` and its document `d`, restricted to revisions that match a filter."""
    if where is None:
        return SqlCondition(VISIBLE)
    condition = sql_condition(where)
    condition.sql = f"""{VISIBLE} AND EXISTS (
      SELECT FROM revision f WHERE f.kb = p.kb AND f.uri = p.uri AND f.content_hash = p.content_hash AND {condition.sql})"""
    return condition
