"""Registration of what prefect.yaml and the code define in a Prefect server: block types, deployments, schedules."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from mindset.errors import StackError

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

PROJECT = Path(__file__).parent.parent
"""The folder of prefect.yaml and the flows, wherever the command was started."""

_TAG = "mindset"

# What was last registered, as {deployment: {schedule: active}}. A schedule that differs was changed by hand.
_VARIABLE = "mindset_schedules"

Active = dict[str, dict[str, bool]]


def register(file: Path = PROJECT / "prefect.yaml") -> list[str]:
    """Register everything, remove deployments and schedules that are no longer in prefect.yaml, and return what changed.

    A schedule or deployment that somebody paused, or a schedule that somebody activated, stays so until its `active` in
    prefect.yaml changes. The address of the Prefect server is taken from the environment. Raises StackError."""
    load()
    from prefect.client.orchestration import get_client
    from prefect.variables import Variable

    import blocks.registry

    for name in blocks.registry.__all__:
        getattr(blocks.registry, name).register_type_and_schema()
    defined = _defined(file)
    with get_client(sync_client=True) as client:
        before = _schedules(client)
        paused = {name for name, deployment in _deployments(client).items() if deployment.paused}
        registered: Any = Variable.get(_VARIABLE, default={})
        _deploy_all(file)
        changes = [
            *_remove_deployments(client, defined),
            *_remove_schedules(client, defined),
            *_set_active(client, defined, before, registered),
        ]
        for name, deployment in _deployments(client).items():
            if name in paused and not deployment.paused:
                client.pause_deployment(deployment.id)
                changes.append(f"{name} stays paused, as somebody paused it")
    Variable.set(_VARIABLE, defined, overwrite=True)
    return changes


def load() -> None:
    """Import what registering needs: Prefect, flows and blocks. It takes 5 s."""

    import flows.maintain
    import flows.nightly  # noqa: F401  # it imports the stages


def _defined(file: Path) -> Active:
    """Return the schedules of prefect.yaml."""
    deployments = yaml.safe_load(file.read_text())["deployments"]
    return {
        deployment["name"]: {
            schedule["slug"]: bool(schedule.get("active", True)) for schedule in deployment.get("schedules", ())
        }
        for deployment in deployments
    }


def _deploy_all(file: Path) -> None:
    import prefect.cli

    arguments, sys.argv = sys.argv, ["prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(file)]
    try:
        prefect.cli.app()
    except SystemExit as exit_:
        if exit_.code:
            raise StackError("`prefect deploy --all` failed. Correct what it names and start again.") from None
    finally:
        sys.argv = arguments


def _deployments(client: SyncPrefectClient) -> dict[str, DeploymentResponse]:
    """Return the deployments of this project."""
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags

    found = client.read_deployments(deployment_filter=DeploymentFilter(tags=DeploymentFilterTags(all_=[_TAG])))
    return {deployment.name: deployment for deployment in found}


def _schedules(client: SyncPrefectClient) -> Active:
    return {
        name: {schedule.slug or "": schedule.active for schedule in deployment.schedules}
        for name, deployment in _deployments(client).items()
    }


def _remove_deployments(client: SyncPrefectClient, defined: Active) -> Iterator[str]:
    for name, deployment in _deployments(client).items():
        if name not in defined:
            client.delete_deployment(deployment.id)
            yield f"removed the deployment {name}, which is no longer in prefect.yaml"


def _remove_schedules(client: SyncPrefectClient, defined: Active) -> Iterator[str]:
    """Remove schedules that are no longer in prefect.yaml, but not those that somebody added in the UI without a slug."""
    for name, deployment in _deployments(client).items():
        for schedule in deployment.schedules:
            if not schedule.slug:
                yield f"{name} has a schedule that is not in prefect.yaml, added by hand: {schedule.schedule}"
            elif schedule.slug not in defined[name]:
                client.delete_deployment_schedule(deployment.id, schedule.id)
                yield f"removed the schedule {schedule.slug} of {name}, which is no longer in prefect.yaml"


def _set_active(client: SyncPrefectClient, defined: Active, before: Active, registered: Active) -> Iterator[str]:
    """Activate and pause schedules as the file says, or as somebody has set them since the file last changed.

    Prefect itself sets only what the file says explicitly, whatever somebody has set."""
    for name, deployment in _deployments(client).items():
        for schedule in deployment.schedules:
            slug = schedule.slug or ""
            wanted = defined[name].get(slug)
            was, last = before.get(name, {}).get(slug), registered.get(name, {}).get(slug)
            if wanted is None:
                continue
            if was is not None and wanted == last and was != wanted:
                wanted = was
                yield f"the schedule {slug} of {name} stays {'active' if was else 'paused'}, as somebody set it"
            if schedule.active != wanted:
                client.update_deployment_schedule(deployment.id, schedule.id, active=wanted)
