"""Where a night's stages run: in its own process, or as runs of their deployments on their work pools."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from prefect import Flow
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from flows.parameters import StageParameters
from mindset.errors import ConfigurationError


def run_stage(stage: Flow[..., Any], parameters: StageParameters, *, inline: bool) -> Any:
    """Run a stage and return its result. Raises what made it fail."""
    if inline:
        # The night's own heartbeat shows that this process is alive. A stage's heartbeat would cost a second, since its
        # end waits for a thread that sleeps whole seconds.
        with temporary_settings(updates={PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            return stage(parameters)
    run: Any = run_deployment(
        f"{stage.name}/{stage.name}", parameters={"parameters": parameters.model_dump(mode="json")}
    )
    return run.state.result()


def run_shards(stage: Flow[..., Any], shards: list[Any], *, inline: bool) -> list[Any]:
    """Run a stage once per shard and return the results. Deployments run concurrently, as far as the pool has workers."""
    if inline:
        return [run_stage(stage, parameters, inline=True) for parameters in shards]
    with ThreadPoolExecutor(len(shards)) as threads:
        # Prefect finds the parent run in context variables, which threads do not inherit.
        runs = [threads.submit(copy_context().run, run_stage, stage, parameters, inline=False) for parameters in shards]
        return [run.result() for run in runs]


def start(deployment: str, parameters: StageParameters) -> str:
    """Start a run of a deployment without waiting for it, and return its name.

    Raises ConfigurationError if there is no such deployment."""
    name = f"{deployment}/{deployment}"
    try:
        run: Any = run_deployment(
            name, parameters={"parameters": parameters.model_dump(mode="json")}, timeout=0, as_subflow=False
        )
    except ObjectNotFound:
        raise ConfigurationError(f"Prefect has no deployment {name}. Run `mindset deploy`.") from None
    return str(run.name)
