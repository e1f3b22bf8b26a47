"""Postgres' planner statistics, which only make statements fast: no result depends on them."""

from __future__ import annotations

from mindset.catalog.transactions import WriteConnection, scalar

# Fewer new chunks than this do not change the plans.
_ANALYZE_AFTER = 1_000


def analyze(connection: WriteConnection, added: int) -> None:
    """Run ANALYZE after a build added many chunks, or if it never ran; it reads a sample of bounded size.

    Autovacuum comes too late: the evaluation after a build would search with plans made for empty tables."""
    if added >= _ANALYZE_AFTER or scalar(
        connection, "SELECT reltuples < 0 FROM pg_class WHERE oid = 'placement'::regclass"
    ):
        connection.execute("ANALYZE chunk, placement, document, segment_chunk")
