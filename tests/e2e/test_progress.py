"""Progress artifacts: one per stage run, also after a retry, and never a reason to fail."""

from __future__ import annotations

from pathlib import Path

import pytest
from prefect import flow, task
from prefect.artifacts import create_progress_artifact
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from flows.runtime import report_progress
from local_stack.addresses import Addresses
from mindset.pipeline.prefect_client import PrefectClient

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("prefect"), pytest.mark.timeout(300)]

UNREACHABLE = {PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES: 0}


def percent(house: Addresses, run: str) -> float:
    with PrefectClient(house.prefect_api_url or "") as client:
        assert len(client._artifacts([run], "progress")) == 1
        return client.progress([run])[run]


def test_retry_continues_the_artifact_of_the_first_attempt(house: Addresses, directory: Path) -> None:
    attempts: list[int] = []

    @task(retries=1, retry_delay_seconds=0)
    def work() -> None:
        attempts.append(len(attempts))
        report = report_progress("test-retry", "Texts embedded")
        report(10, 100)
        if len(attempts) == 1:
            report(100, 100)
            raise ValueError("once")

    @flow
    def stage() -> str:
        work()
        return str(flow_run.id)

    with temporary_settings({PREFECT_API_URL: house.prefect_api_url}):
        run = stage()
    assert (len(attempts), percent(house, run)) == (2, 10)


@pytest.mark.parametrize("healthy_first", [True, False])
def test_outage_of_prefect_does_not_fail_the_work(house: Addresses, directory: Path, healthy_first: bool) -> None:
    @task
    def work() -> int:
        report = report_progress("test-outage", "Texts embedded")
        if healthy_first:
            report(0, 3)
        with temporary_settings(UNREACHABLE):
            report(3, 3)
        return 3

    @flow
    def stage() -> int:
        return work()

    with temporary_settings({PREFECT_API_URL: house.prefect_api_url}):
        assert stage() == 3


def test_newest_of_several_percentages_is_shown(house: Addresses, directory: Path) -> None:
    """As after a retry of an earlier release."""

    @flow
    def stage() -> str:
        for value in (90.0, 40.0, 60.0):
            create_progress_artifact(value, key="test-newest")
        return str(flow_run.id)

    with temporary_settings({PREFECT_API_URL: house.prefect_api_url}):
        run = stage()
    with PrefectClient(house.prefect_api_url or "") as client:
        assert client.progress([run]) == {run: 60.0}
