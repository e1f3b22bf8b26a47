"""Where a night's stages run: in its own process, or as runs of their deployments on their work pools."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from prefect import Flow
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from flows.parameters import Stage
from mindset.errors import ConfigurationError


def run_stage(stage: Flow[..., Any], parameters: Stage, *, inline: bool) -> Any:
    """What the stage returns; raises what made it fail."""
    if inline:
        # The night's own heartbeat says that this process lives. Those of a stage cost a second: its end waits for their
        # thread, which sleeps whole seconds.
        with temporary_settings(updates={PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            return stage(parameters)
    run: Any = run_deployment(
        f"{stage.name}/{stage.name}", parameters={"parameters": parameters.model_dump(mode="json")}
    )
    return run.state.result()


def start(deployment: str, parameters: Stage) -> str:
    """Ask for a run of a deployment, and go on; returns the run's name. Raises ConfigurationError where there is none."""
    name, asked = f"{deployment}/{deployment}", {"parameters": parameters.model_dump(mode="json")}
    try:
        run: Any = run_deployment(name, parameters=asked, timeout=0, as_subflow=False)
    except ObjectNotFound:
        raise ConfigurationError(f"Prefect has no deployment {name}. Run `prefect deploy --all`.") from None
    return str(run.name)


def run_shards(stage: Flow[..., Any], shards: list[Any], *, inline: bool) -> list[Any]:
    """What each shard returns. As deployments they run at the same time, on as many workers as the pool has."""
    if inline:
        return [run_stage(stage, each, inline=True) for each in shards]
    with ThreadPoolExecutor(len(shards)) as threads:
        # Prefect finds the parent run in context variables, which threads do not inherit.
        runs = [threads.submit(copy_context().run, run_stage, stage, each, inline=False) for each in shards]
        return [each.result() for each in runs]
