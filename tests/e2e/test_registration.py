"""Registration of deployments and schedules in Prefect, when prefect.yaml or the schedules change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

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
        "the schedule docs of nightly stays paused, as somebody set it",
        "the schedule guides of nightly stays active, as somebody set it",
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
