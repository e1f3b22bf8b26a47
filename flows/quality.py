"""The quality report of a night's documents: checks by Great Expectations, for people; nothing is decided by it."""

from __future__ import annotations

import os
from typing import Any

from prefect import task
from prefect.artifacts import create_table_artifact

from flows.stage import DELAYS_S, RETRIES, can_help
from mindset.catalog.documents import document_measures
from mindset.installation import Installation

# Importing Great Expectations takes as long as a night over a few documents: a handful of changes is not worth it.
LEAST_DOCUMENTS = 20


@task(
    name="check quality",
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=can_help,
)
def check_quality(installation: Installation, kb: str, uris: list[str]) -> list[dict[str, Any]]:
    """Check what was added or changed, and leave a table of it; each row is one expectation."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")  # read at import: it must not call home from a cluster
    import great_expectations as gx
    import pandas as pd
    from great_expectations.expectations.core.expect_column_values_to_be_between import ExpectColumnValuesToBeBetween
    from great_expectations.expectations.core.expect_column_values_to_be_unique import ExpectColumnValuesToBeUnique

    with installation.catalog.reading() as connection:
        frame = pd.DataFrame(document_measures(connection, kb, uris))
    suite = {
        "texts have at least 50 characters": ExpectColumnValuesToBeBetween(
            column="characters", min_value=50, mostly=0.95
        ),
        "texts have at most a million characters": ExpectColumnValuesToBeBetween(
            column="characters", max_value=1_000_000
        ),
        "titles are unique": ExpectColumnValuesToBeUnique(column="title", mostly=0.9),
        "texts are unique": ExpectColumnValuesToBeUnique(column="text_hash", mostly=0.98),
        "at most one character in a thousand is a replacement": ExpectColumnValuesToBeBetween(
            column="replaced_share", max_value=0.001, mostly=0.99
        ),
    }
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
    asset = context.data_sources.add_pandas("night").add_dataframe_asset("documents")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
    rows = [_row(name, batch.validate(each, result_format="COMPLETE"), frame) for name, each in suite.items()]
    create_table_artifact(
        rows, key=f"quality-{kb}", description=f"Quality of {len(frame)} new or changed documents of {kb}"
    )
    return rows


def _row(name: str, found: Any, frame: Any) -> dict[str, Any]:
    unexpected = found.result.get("unexpected_index_list") or []
    return {
        "expectation": name,
        "met": bool(found.success),
        "exceptions": int(found.result.get("unexpected_count") or 0),
        "for example": ", ".join(frame["uri"].iloc[unexpected[:3]]),
    }
