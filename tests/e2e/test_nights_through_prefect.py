"""Nightly runs through the whole stack: Prefect's server, its workers, the deployments and the API."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.registration import PROJECT
from flows.quality import MIN_DOCUMENTS
from local_stack.addresses import Addresses, environment
from local_stack.loopback import send_to_prefect
from mindset.application import Installation
from mindset.pipeline.prefect_client import FlowRun, PrefectClient
from tests.corpus import Corpus, ask, document, run_night
from tests.faults.invariants import check_invariants
from tests.faults.kills import Servers
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400), pytest.mark.xdist_group("prefect")]


_NIGHT = "import sys; from flows.nightly import NightlyParameters, nightly; nightly(NightlyParameters(kb=sys.argv[1]))"


def night(house: Addresses, kb: str) -> FlowRun:
    with PrefectClient(house.prefect_api_url or "") as nights:
        return ended(nights, nights.start("nightly/nightly", {"parameters": {"kb": kb}}))


def ended(nights: PrefectClient, run: FlowRun) -> FlowRun:
    wait_until(lambda: nights.get(run.id).ended, 150, f"{run.name} did not end", interval_s=0.3)
    return nights.get(run.id)


def table_rows(house: Addresses, table: str) -> list[dict[str, Any]]:
    """Wait for a table artifact, which another run creates, and return its rows."""

    def latest() -> httpx.Response | None:
        response = httpx.get(f"{house.prefect_api_url}/artifacts/{table}/latest")
        return response if response.is_success else None

    response = wait_until(latest, 120, f"There was no table {table}", interval_s=0.3)
    return list(json.loads(response.json()["data"]))


def test_night_through_the_deployment_creates_a_report_and_a_release(
    house: Addresses, corpus: Corpus, installation: Installation
) -> None:
    corpus.fill(MIN_DOCUMENTS)
    corpus.write("broken.md", b"\0\0\0")
    run = night(house, corpus.name)
    assert run.succeeded, run.message
    assert run.name.startswith(f"{corpus.name}-night-20")
    with PrefectClient(house.prefect_api_url or "") as nights:
        report = nights.report(run.id) or ""
        stages = [stage.name.removeprefix(f"{corpus.name}-").partition("-")[0] for stage in nights.stages(run.id)]
    assert stages == ["ingest", "chunk", "embed", "index", "evaluate", "deploy"]
    assert "version 1 is live" in report
    assert "broken.md" in report
    assert f"{4 * MIN_DOCUMENTS} chunks added" in report
    assert ask(installation, corpus.name, "rooms of the bakery 3")[0] == "doc3.md"
    answer = httpx.post(
        f"{house.api_url}/v1/answers", json={"knowledge_base": corpus.name, "question": "rooms of bakery 3?"}
    )
    assert answer.json()["citations"][0]["uri"] == "doc3.md"
    assert f"checks them; its table is `quality-{corpus.name}`" in report
    table = table_rows(house, f"quality-{corpus.name}")
    assert {row["expectation"]: row["met"] for row in table}["titles are unique"]


def test_failed_night_reports_the_reason(house: Addresses, corpus: Corpus) -> None:
    run = night(house, corpus.name)
    assert run.state == "FAILED"
    assert "contains no file that matches" in run.message
    with PrefectClient(house.prefect_api_url or "") as nights:
        assert "the night stopped while ingesting" in (nights.report(run.id) or "")


def test_stages_run_as_deployments_on_their_pools(
    house: Addresses, corpus: Corpus, installation: Installation, directory: Path
) -> None:
    corpus.fill(3)
    corpus.define(embedding={"shards": 2})
    definitions = str(directory / "knowledge_bases")
    done = subprocess.run(
        [sys.executable, "-c", _NIGHT, corpus.name],
        env=os.environ | environment(house, directory / "stack")
        | {"MINDSET_STAGES": "deployments", "MINDSET_KNOWLEDGE_BASES": definitions},
        cwd=PROJECT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert ask(installation, corpus.name, "rooms of the glacier 1")[0] == "doc1.md"
    query = {"flows": {"name": {"any_": ["embed"]}}}
    _, runs = send_to_prefect("POST", f"{house.prefect_api_url}/flow_runs/filter", query)
    own = [run for run in runs if corpus.name in run["name"]]
    assert {run["work_pool_name"] for run in own} == {"gpu"}
    assert len(own) == len({run["name"] for run in own}) == 2, "the shards of a minute have different names"


@pytest.mark.parametrize("victim", ["chroma", "postgres"])
def test_night_survives_the_death_of_a_server(
    house: Addresses, corpus: Corpus, installation: Installation, directory: Path, victim: str
) -> None:
    corpus.fill(4)
    run_night(installation, corpus.name)
    for number in range(20, 35):
        corpus.write(f"doc{number}.md", document(number))
    with PrefectClient(house.prefect_api_url or "") as nights:
        run = nights.start("nightly/nightly", {"parameters": {"kb": corpus.name}})
        wait_until(lambda: len(nights.stages(run.id)) >= 2 or nights.get(run.id).ended, 120, interval_s=0.1)
        Servers(directory / "stack").kill(victim)
        assert ended(nights, run).succeeded
    check_invariants(installation, corpus.name, corpus.folder)


def test_every_flow_has_a_deployment_with_described_parameters(house: Addresses) -> None:
    _, deployments = send_to_prefect("POST", f"{house.prefect_api_url}/deployments/filter", {})
    assert {deployment["name"] for deployment in deployments} == {
        "nightly", "maintain", "quality", "ingest", "chunk", "embed", "index", "evaluate",
        "deploy",
    }  # fmt: skip
    for deployment in deployments:
        model = next(iter(deployment["parameter_openapi_schema"]["definitions"].values()))
        assert all(field.get("title") or field.get("allOf") for field in model["properties"].values())
        assert deployment["description"]
        assert "mindset" in deployment["tags"]


def test_command_line_uses_the_stack(house: Addresses, corpus: Corpus, directory: Path) -> None:
    corpus.fill(3)
    variables = {
        "MINDSET_DIRECTORY": str(directory / "stack"),
        "MINDSET_KNOWLEDGE_BASES": str(directory / "knowledge_bases"),
    }

    def mindset(*arguments: str) -> tuple[int, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "cli.app", *arguments],
            env={**os.environ, **variables}, cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        return done.returncode, json.loads(done.stdout) if done.stdout.startswith(
            ("{", "[")
        ) else done.stdout + done.stderr

    assert mindset("status", "--json")[0] == 0
    code, run = mindset("night", corpus.name, "--json")
    assert (code, run["state"]) == (0, "COMPLETED")
    code, answer = mindset("ask", corpus.name, "How many rooms has the glacier 1?", "--json")
    assert answer["citations"][0]["uri"] == "doc1.md"
    assert mindset("take-down", corpus.name, "doc1.md")[0] == 0
    code, results = mindset("search", corpus.name, "glacier 1", "--json")
    assert "doc1.md" not in json.dumps(results)
    code, output = mindset("rollback", corpus.name)
    assert code == 3
    assert "no earlier release" in output
    code, output = mindset("ask", "missing", "hello")
    assert (code, "UnknownKnowledgeBase" in output) == (3, True)
    code, output = mindset("ask", corpus.name, "  ")
    assert code == 2
    assert mindset("releases", corpus.name, "--json")[1]["versions"][0]["state"] == "ready"
    assert mindset("maintain", corpus.name, "--json")[1]["state"] == "COMPLETED"
    assert mindset("up")[0] == 4
