"""Evaluate: the candidate against its golden set and against what is live."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from prefect import flow, get_run_logger, task

from flows.parameters import Evaluate, stage_name
from flows.report import publish_evaluation
from flows.stage import DELAYS_S, RETRIES, building, can_help
from mindset.builds.plan import version_to_evaluate
from mindset.evaluation import evaluate as stage
from mindset.installation import Installation


@flow(name="evaluate", flow_run_name=stage_name, persist_result=True, result_serializer="json")
def evaluate(parameters: Evaluate) -> dict[str, Any]:
    """Measure a version, compare it with the live one and decide by the gate."""
    with building(parameters) as installation:
        return judge_version(installation, parameters)


@task(
    name="judge version",
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=can_help,
)
def judge_version(installation: Installation, parameters: Evaluate) -> dict[str, Any]:
    kb = installation.knowledge_base(parameters.kb)
    version = parameters.version or version_to_evaluate(installation.catalog, kb.name)
    found = stage.evaluate(installation.catalog, kb, installation.searcher, version)
    try:
        publish_evaluation(kb, found)
    except Exception:  # noqa: BLE001  # a table for people must not keep a good version from its release
        get_run_logger().exception("The table of questions could not be written")
    record = asdict(found.record)
    del record["created_at"]
    return {**record, "stale_evidence": found.stale_evidence}
