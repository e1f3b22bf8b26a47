"""Registration of deployments and schedules in Prefect, when prefect.yaml or the schedules change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from prefect.variables import Variable

from cli import registration
from cli.registration import PROJECT
from local_stack.addresses import Addresses, without_password

Register = Callable[[dict[str, Any]], list[str]]


@pytest.fixture
def client(house: Addresses) -> Iterator[SyncPrefectClient]:
    url, user_and_password = without_password(house.prefect_api_url or "")
    with (
        temporary_settings({PREFECT_API_URL: url, PREFECT_API_AUTH_STRING: user_and_password}),
        get_client(sync_client=True) as opened,
    ):
        yield opened


@pytest.fixture
def definitions() -> dict[str, Any]:
    """The content of prefect.yaml, with two of its deployments, because registering each takes a second."""
    content: dict[str, Any] = yaml.safe_load((PROJECT / "prefect.yaml").read_text())
    content["deployments"] = [section(content, "nightly"), section(content, "maintain")]
    return content


@pytest.fixture
def register(client: SyncPrefectClient, tmp_path: Path, definitions: dict[str, Any]) -> Iterator[Register]:
    """Registers other content of prefect.yaml, and its real content at the end."""
    assert client

    def run(content: dict[str, Any]) -> list[str]:
        file = tmp_path / "prefect.yaml"
        file.write_text(yaml.safe_dump(content))
        return registration.register(file)

    run(definitions)
    yield run
    registration.register()


def schedules(client: SyncPrefectClient, name: str = "nightly") -> dict[str, bool]:
    deployment = client.read_deployment_by_name(f"{name}/{name}")
    return {schedule.slug or "": schedule.active for schedule in deployment.schedules}


def set_active(client: SyncPrefectClient, slug: str, active: bool) -> None:
    deployment = client.read_deployment_by_name("nightly/nightly")
    schedule = next(schedule for schedule in deployment.schedules if schedule.slug == slug)
    client.update_deployment_schedule(deployment.id, schedule.id, active=active)


def section(definitions: dict[str, Any], name: str) -> dict[str, Any]:
    return next(deployment for deployment in definitions["deployments"] if deployment["name"] == name)


def test_schedules_follow_the_file_and_what_was_set_by_hand_stays(
    client: SyncPrefectClient, definitions: dict[str, Any], register: Register
) -> None:
    assert register(definitions) == []
    assert schedules(client) == {"docs": True, "guides": False}
    set_active(client, "docs", False)
    set_active(client, "guides", True)
    assert sorted(register(definitions)) == [
        "the schedule docs of nightly stays paused, because it was set by hand",
        "the schedule guides of nightly stays active, because it was set by hand",
    ]
    assert schedules(client) == {"docs": False, "guides": True}

    nightly = section(definitions, "nightly")
    docs, _ = nightly["schedules"]
    other = {**docs, "slug": "other", "active": False}
    nightly["schedules"] = [other, docs]
    changes = register(definitions)
    assert "removed the schedule guides of nightly, which is no longer in prefect.yaml" in changes
    assert schedules(client) == {"docs": False, "other": False}

    other["active"] = True
    docs["active"] = False
    register(definitions)
    del docs["active"]  # which means true
    register(definitions)
    assert schedules(client) == {"docs": True, "other": True}, "a change of the file wins"

    del nightly["schedules"]
    register(definitions)
    assert schedules(client) == {}


def test_deployments_follow_the_file_and_paused_ones_stay_paused(
    client: SyncPrefectClient, definitions: dict[str, Any], register: Register
) -> None:
    client.pause_deployment(client.read_deployment_by_name("maintain/maintain").id)
    definitions["deployments"].remove(section(definitions, "nightly"))
    assert "removed the deployment nightly, which is no longer in prefect.yaml" in register(definitions)
    assert {deployment.name for deployment in client.read_deployments()} == {
        deployment["name"] for deployment in definitions["deployments"]
    }
    maintain = client.read_deployment_by_name("maintain/maintain")
    assert maintain.paused
    client.resume_deployment(maintain.id)


def forget(*names: str) -> None:
    """Delete what was recorded about deployments, as if an earlier release had registered them."""
    for name in names:
        Variable.unset(registration._variable(name))


def test_what_was_set_by_hand_stays_without_a_record(
    client: SyncPrefectClient, definitions: dict[str, Any], register: Register
) -> None:
    set_active(client, "docs", False)
    forget("nightly", "maintain")
    (change,) = register(definitions)
    assert change.startswith("the schedule docs of nightly stays paused, because nothing is recorded")
    assert schedules(client) == {"docs": False, "guides": False}
    assert register(definitions) == ["the schedule docs of nightly stays paused, because it was set by hand"]


def test_killed_registration_loses_nothing_that_was_set_by_hand(
    client: SyncPrefectClient, definitions: dict[str, Any], register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    for schedule in section(definitions, "nightly")["schedules"]:
        schedule["active"] = schedule["slug"] == "docs"  # which Prefect sets by itself
    register(definitions)
    set_active(client, "docs", False)
    set_active(client, "guides", True)
    client.pause_deployment(client.read_deployment_by_name("maintain/maintain").id)
    with monkeypatch.context() as patch:
        patch.setattr(registration, "_remove_deployments", killed)
        for _ in range(2):
            with pytest.raises(Killed):
                register(definitions)
    assert schedules(client) == {"docs": True, "guides": False}, "as the file says"
    assert sorted(register(definitions))[-2:] == [
        "the schedule docs of nightly stays paused, because it was set by hand",
        "the schedule guides of nightly stays active, because it was set by hand",
    ]
    assert schedules(client) == {"docs": False, "guides": True}
    maintain = client.read_deployment_by_name("maintain/maintain")
    assert maintain.paused
    client.resume_deployment(maintain.id)
    register(definitions)
    assert not client.read_deployment_by_name("maintain/maintain").paused


class Killed(BaseException):
    pass


def killed(*_arguments: object) -> list[str]:
    raise Killed


def test_deployments_that_others_registered_are_kept(
    client: SyncPrefectClient, definitions: dict[str, Any], register: Register
) -> None:
    maintain = section(definitions, "maintain")
    names = {"maintain", "Maintain twice", "maintain_twice"}
    other = {
        **definitions,
        "name": "another project",
        "deployments": [{**maintain, "name": name} for name in names - {"maintain"}],
    }
    # Together more than fits into one variable of Prefect.
    (schedule,) = maintain["schedules"][:1]
    for deployment in other["deployments"]:
        deployment["schedules"] = [{**schedule, "slug": f"{'x' * 60}-{number}"} for number in range(45)]
    register(other)
    forget("maintain")
    definitions["deployments"].remove(maintain)
    kept = [change for change in register(definitions) if change.startswith("kept the deployment ")]
    assert len(kept) >= len(names)
    assert names <= {deployment.name for deployment in client.read_deployments()}
    other["deployments"] = [{**maintain, "name": "maintain"}]
    changes = register(other)
    assert {
        f"removed the deployment {name}, which is no longer in prefect.yaml" for name in names - {"maintain"}
    } <= set(changes)
