"""The evaluate stage as a flow."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from prefect import flow, get_run_logger, task

from flows.parameters import EvaluateParameters, stage_name
from flows.report import publish_evaluation
from flows.runtime import DELAYS_S, RETRIES, building, is_transient
from mindset.application import Installation
from mindset.catalog.build import Build
from mindset.evaluation import evaluate as stage
from mindset.pipeline.plan import version_to_evaluate


@flow(name="evaluate", flow_run_name=stage_name, persist_result=True, result_serializer="json")
def evaluate(parameters: EvaluateParameters) -> dict[str, Any]:
    """Measure a version with its golden set, compare it with the live version, and apply the gate."""
    with building(parameters) as (installation, build):
        return evaluate_version(installation, build, parameters)


@task(
    name="evaluate version",
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
)
def evaluate_version(installation: Installation, build: Build, parameters: EvaluateParameters) -> dict[str, Any]:
    kb = installation.knowledge_base(parameters.kb)
    version = parameters.version or version_to_evaluate(installation.catalog, kb.name)
    evaluation = stage.evaluate(build, kb, installation.searcher, version)
    try:
        publish_evaluation(kb, evaluation)
    except Exception:  # noqa: BLE001  # a table must not prevent the release of a good version
        get_run_logger().exception("The table of questions could not be written")
    record = asdict(evaluation.record)
    del record["created_at"]
    return {**record, "stale_evidence": evaluation.stale_evidence}
