"""Deploy: what the evaluation let through goes live."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from prefect import flow, task
from prefect.runtime import flow_run

from flows.parameters import Deploy, stage_name
from flows.stage import DELAYS_S, RETRIES, building, can_help
from mindset import releases
from mindset.builds.plan import evaluation_to_deploy
from mindset.installation import Installation


@flow(name="deploy", flow_run_name=stage_name, persist_result=True, result_serializer="json")
def deploy(parameters: Deploy) -> dict[str, Any]:
    """Release or reject the version that was evaluated, in one transaction."""
    with building(parameters) as installation:
        return release_version(installation, parameters)


@task(
    name="release version",
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=can_help,
)
def release_version(installation: Installation, parameters: Deploy) -> dict[str, Any]:
    evaluation = parameters.evaluation or evaluation_to_deploy(installation.catalog, parameters.kb)
    by = f"flow run {parameters.night or flow_run.id}"
    decision = releases.deploy(installation.catalog, parameters.kb, evaluation, by)
    if decision.released:
        installation.announce(parameters.kb, decision.version)
    return asdict(decision)
