"""The deploy stage as a flow."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from prefect import flow, task
from prefect.runtime import flow_run

from flows.parameters import DeployParameters, stage_name
from flows.runtime import DELAYS_S, RETRIES, building, is_transient
from mindset.application import Installation
from mindset.catalog.build import Build
from mindset.pipeline.plan import evaluation_to_deploy
from mindset.releases import promotion


@flow(name="deploy", flow_run_name=stage_name, persist_result=True, result_serializer="json")
def deploy(parameters: DeployParameters) -> dict[str, Any]:
    """Release or reject the evaluated version, in one transaction."""
    with building(parameters) as (installation, build):
        return release_version(installation, build, parameters)


@task(
    name="release version",
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=DELAYS_S,
    retry_condition_fn=is_transient,
)
def release_version(installation: Installation, build: Build, parameters: DeployParameters) -> dict[str, Any]:
    evaluation = parameters.evaluation or evaluation_to_deploy(installation.catalog, parameters.kb)
    by = f"flow run {parameters.night or flow_run.id}"
    decision = promotion.deploy(build, parameters.kb, evaluation, by)
    if decision.released:
        installation.publish_release(parameters.kb, decision.version)
    return asdict(decision)
