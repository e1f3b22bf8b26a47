"""Registration of what prefect.yaml and the code define in a Prefect server: block types, deployments, schedules."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
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

# One record per deployment, because Prefect limits a variable to 5,000 characters.
_VARIABLES = "mindset_schedules_"

Active = dict[str, dict[str, bool]]
"""{deployment: {schedule: active}}"""


@dataclass(frozen=True)
class _Record:
    """What was last registered of a deployment, stored as a variable in Prefect. What differs from it was set by hand."""

    project: str
    """The `name` of the prefect.yaml that registered it."""
    registered: dict[str, bool]
    """{schedule: active}"""
    interrupted: bool = False
    """Whether a registration has begun and not ended. Prefect may have set the states of the file meanwhile."""
    by_hand: dict[str, bool] = field(default_factory=dict)
    """Before the interrupted registration: the schedules whose state differed from `registered`."""
    paused: bool = False
    """Whether the deployment was paused before the interrupted registration."""

    def observed(self, present: dict[str, bool], file: dict[str, bool]) -> dict[str, bool]:
        """Return the states before this registration, or before the one that was interrupted."""
        if not self.interrupted:
            return present
        before = {**self.registered, **self.by_hand}
        # A state that is not the file's was set by hand since.
        return {
            slug: before.get(slug, active) if active == file.get(slug) else active for slug, active in present.items()
        }


def register(file: Path = PROJECT / "prefect.yaml") -> list[str]:
    """Register everything, remove what was registered from the file and is no longer in it, and return what changed.

    A schedule or deployment paused by hand, or a schedule activated by hand, stays so until its `active` in prefect.yaml
    changes. The address of the Prefect server is taken from the environment. Raises StackError."""
    load()
    from prefect.client.orchestration import get_client

    import blocks.registry

    for name in blocks.registry.__all__:
        getattr(blocks.registry, name).register_type_and_schema()
    project, defined = _defined(file)
    with get_client(sync_client=True) as client:
        existing = _deployments(client)
        records = {name: _load_record(name) for name in {*defined, *existing}}
        before: Active = {}
        paused = set()
        for name, schedules in defined.items():
            record, deployment = records[name] or _Record(project, {}), existing.get(name)
            present = {s.slug or "": s.active for s in deployment.schedules} if deployment else {}
            before[name] = record.observed(present, schedules)
            if (deployment and deployment.paused) or record.paused:
                paused.add(name)
            by_hand = {slug: active for slug, active in before[name].items() if active != record.registered.get(slug)}
            # Before Prefect sets the states of the file, so that a registration that is killed loses none.
            _store_record(name, _Record(project, record.registered, True, by_hand, name in paused))
        _deploy_all(file)
        changes = [
            *_remove_deployments(client, project, defined, records),
            *_remove_schedules(client, defined),
            *_set_active(client, defined, before, records),
        ]
        for name, deployment in _deployments(client).items():
            if name in paused and not deployment.paused:
                client.pause_deployment(deployment.id)
                changes.append(f"{name} stays paused, because it was paused by hand")
    for name, schedules in defined.items():
        _store_record(name, _Record(project, schedules))
    return changes


def load() -> None:
    """Import what registering needs: Prefect, flows and blocks. It takes 5 s."""

    import flows.maintain
    import flows.nightly  # noqa: F401  # it imports the stages


def _defined(file: Path) -> tuple[str, Active]:
    """Return the name and the schedules of prefect.yaml."""
    content = yaml.safe_load(file.read_text())
    return content.get("name") or "", {
        deployment["name"]: {
            schedule["slug"]: bool(schedule.get("active", True)) for schedule in deployment.get("schedules", ())
        }
        for deployment in content["deployments"]
    }


def _variable(deployment: str) -> str:
    """Return the name of the variable of a deployment's record. Names of variables have fewer characters than others."""
    plain = re.sub("[^a-z0-9_]", "_", deployment.lower())
    return _VARIABLES + (plain if plain == deployment else f"{plain}_{sha256(deployment.encode()).hexdigest()[:8]}")


def _load_record(deployment: str) -> _Record | None:
    from prefect.variables import Variable

    stored: Any = Variable.get(_variable(deployment))
    return _Record(**stored) if stored else None


def _store_record(deployment: str, record: _Record) -> None:
    from prefect.variables import Variable

    Variable.set(_variable(deployment), asdict(record), overwrite=True)


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


def _remove_deployments(
    client: SyncPrefectClient, project: str, defined: Active, records: Mapping[str, _Record | None]
) -> Iterator[str]:
    """Remove deployments that were registered from the file and are no longer in it."""
    from prefect.variables import Variable

    for name, deployment in _deployments(client).items():
        if name in defined:
            continue
        record = records.get(name)
        if record and record.project == project:
            client.delete_deployment(deployment.id)
            Variable.unset(_variable(name))
            yield f"removed the deployment {name}, which is no longer in prefect.yaml"
        else:
            yield f"kept the deployment {name}, which was not registered from this prefect.yaml; delete it in Prefect if unused"


def _remove_schedules(client: SyncPrefectClient, defined: Active) -> Iterator[str]:
    """Remove schedules that are no longer in prefect.yaml, but not those that were added in the UI without a slug."""
    for name, deployment in _deployments(client).items():
        for schedule in deployment.schedules if name in defined else ():
            if not schedule.slug:
                yield f"{name} has a schedule that is not in prefect.yaml, added by hand: {schedule.schedule}"
            elif schedule.slug not in defined[name]:
                client.delete_deployment_schedule(deployment.id, schedule.id)
                yield f"removed the schedule {schedule.slug} of {name}, which is no longer in prefect.yaml"


def _set_active(
    client: SyncPrefectClient, defined: Active, before: Active, records: Mapping[str, _Record | None]
) -> Iterator[str]:
    """Activate and pause schedules as the file says, or as they were set by hand since the file last changed.

    Prefect itself sets only what the file says explicitly, whatever was set by hand."""
    for name, deployment in _deployments(client).items():
        record = records.get(name)
        for schedule in deployment.schedules:
            slug = schedule.slug or ""
            wanted = defined.get(name, {}).get(slug)
            was, last = before.get(name, {}).get(slug), record.registered.get(slug) if record else None
            if wanted is None:
                continue
            if was is not None and was != wanted and last in (wanted, None):
                wanted = was
                reason = (
                    "it was set by hand"
                    if last is not None
                    else "nothing is recorded about why it differs from the file"
                )
                yield f"the schedule {slug} of {name} stays {'active' if was else 'paused'}, because {reason}"
            if schedule.active != wanted:
                client.update_deployment_schedule(deployment.id, schedule.id, active=wanted)
