"""Names of flow runs."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from flows.parameters import run_name


def test_run_name_has_the_time_in_utc_and_eight_digits_of_the_id() -> None:
    started = datetime(2026, 11, 24, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    name = run_name("docs", "embed", started, "9f3c71ab-0000-4000-8000-000000000000")
    assert name == "docs-embed-2026-11-23-2330-9f3c71ab"


def test_shards_that_share_four_digits_of_their_ids_have_different_names() -> None:
    started = datetime(2026, 11, 24, 1, 30).astimezone()
    ids = [f"9f3c{shard:04x}-0000-4000-8000-000000000000" for shard in range(64)]
    assert len({run_name("docs", "embed", started, run_id) for run_id in ids}) == 64
