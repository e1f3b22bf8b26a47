"""Expectations of documents. Importing Great Expectations takes eight seconds and 200 MB, so only `check` does."""

from __future__ import annotations

import os
from typing import Any


def check(statistics: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row per expectation: whether it is met, the number of exceptions, and some examples."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")  # read at import; disables telemetry
    import great_expectations as gx
    import pandas as pd
    from great_expectations.expectations.core.expect_column_values_to_be_between import ExpectColumnValuesToBeBetween
    from great_expectations.expectations.core.expect_column_values_to_be_unique import ExpectColumnValuesToBeUnique

    frame = pd.DataFrame(statistics)
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
            column="replacement_character_ratio", max_value=0.001, mostly=0.99
        ),
    }
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
    asset = context.data_sources.add_pandas("night").add_dataframe_asset("documents")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
    return [
        _row(name, batch.validate(expectation, result_format="COMPLETE"), frame) for name, expectation in suite.items()
    ]


def _row(name: str, result: Any, frame: Any) -> dict[str, Any]:
    unexpected = result.result.get("unexpected_index_list") or []
    return {
        "expectation": name,
        "met": bool(result.success),
        "exceptions": int(result.result.get("unexpected_count") or 0),
        "for example": ", ".join(frame["uri"].iloc[unexpected[:3]]),
    }
