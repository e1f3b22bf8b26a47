"""The whole house: Prefect's server, its workers, the deployments, the API, and nights run through them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.prepare import PROJECT
from flows.quality import LEAST_DOCUMENTS
from mindset.installation import Installation
from mindset.local.addresses import Addresses, environment
from mindset.nights import FlowRun, Nights
from tests.corpus import Corpus, ask, document, run_night
from tests.faults.invariants import check_invariants
from tests.faults.victims import Servers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400), pytest.mark.xdist_group("prefect")]


_NIGHT = "import sys; from flows.nightly import nightly, Night; nightly(Night(kb=sys.argv[1]))"


def night(house: Addresses, kb: str) -> FlowRun:
    with Nights(house.prefect_api_url or "") as nights:
        return ended(nights, nights.start("nightly/nightly", {"parameters": {"kb": kb}}))


def ended(nights: Nights, run: FlowRun) -> FlowRun:
    deadline = time.monotonic() + 120
    while not run.ended and time.monotonic() < deadline:
        time.sleep(0.3)
        run = nights.get(run.id)
    return run


def until_there(house: Addresses, table: str) -> list[dict[str, Any]]:
    """The rows of a table that another run leaves, once it is there."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = httpx.get(f"{house.prefect_api_url}/artifacts/{table}/latest")
        if found.is_success:
            return list(json.loads(found.json()["data"]))
        time.sleep(0.3)
    raise AssertionError(f"no table {table}")


def test_a_night_through_the_deployment_leaves_a_report_and_a_release(
    house: Addresses, corpus: Corpus, installation: Installation
) -> None:
    corpus.fill(LEAST_DOCUMENTS)
    corpus.write("broken.md", b"\0\0\0")
    run = night(house, corpus.name)
    assert run.succeeded, run.message
    assert run.name.startswith(f"{corpus.name}-night-20")
    with Nights(house.prefect_api_url or "") as nights:
        report = nights.report(run.id) or ""
        stages = [each.name.removeprefix(f"{corpus.name}-").rpartition("-20")[0] for each in nights.stages(run.id)]
    assert stages == ["ingest", "chunk", "embed", "index", "evaluate", "deploy"]
    assert "version 1 is live" in report
    assert "broken.md" in report
    assert f"{4 * LEAST_DOCUMENTS} chunks added" in report
    assert ask(installation, corpus.name, "rooms of the bakery 3")[0] == "doc3.md"
    found = httpx.post(
        f"{house.api_url}/v1/answers", json={"knowledge_base": corpus.name, "question": "rooms of bakery 3?"}
    )
    assert found.json()["citations"][0]["uri"] == "doc3.md"
    assert f"checks them now; its table is `quality-{corpus.name}`" in report
    table = until_there(house, f"quality-{corpus.name}")
    assert {row["expectation"]: row["met"] for row in table}["titles are unique"]


def test_a_night_that_fails_says_why_and_leaves_a_report(house: Addresses, corpus: Corpus) -> None:
    run = night(house, corpus.name)
    assert run.state == "FAILED"
    assert "holds no file that matches" in run.message
    with Nights(house.prefect_api_url or "") as nights:
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
    pools = httpx.post(
        f"{house.prefect_api_url}/flow_runs/filter", json={"flows": {"name": {"any_": ["embed"]}}}
    ).json()
    assert {each["work_pool_name"] for each in pools if corpus.name in each["name"]} == {"gpu"}


@pytest.mark.parametrize("victim", ["chroma", "postgres"])
def test_a_night_bridges_the_death_of_a_server(
    house: Addresses, corpus: Corpus, installation: Installation, directory: Path, victim: str
) -> None:
    corpus.fill(4)
    run_night(installation, corpus.name)
    for number in range(20, 35):
        corpus.write(f"doc{number}.md", document(number))
    with Nights(house.prefect_api_url or "") as nights:
        run = nights.start("nightly/nightly", {"parameters": {"kb": corpus.name}})
        deadline = time.monotonic() + 60
        while len(nights.stages(run.id)) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        Servers(directory / "stack").kill(victim)
        assert ended(nights, run).succeeded
    check_invariants(installation, corpus.name, corpus.folder)


def test_every_flow_has_a_deployment_whose_form_describes_its_fields(house: Addresses) -> None:
    deployments = httpx.post(f"{house.prefect_api_url}/deployments/filter", json={}).json()
    assert {each["name"] for each in deployments} == {
        "nightly", "maintain", "quality", "ingest", "chunk", "embed", "index", "evaluate",
        "deploy",
    }  # fmt: skip
    for each in deployments:
        model = next(iter(each["parameter_openapi_schema"]["definitions"].values()))
        assert all(field.get("title") or field.get("allOf") for field in model["properties"].values())
        assert each["description"]
        assert "mindset" in each["tags"]


def test_the_command_line_speaks_to_the_stack(house: Addresses, corpus: Corpus, directory: Path) -> None:
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
    code, found = mindset("search", corpus.name, "glacier 1", "--json")
    assert "doc1.md" not in json.dumps(found)
    code, told = mindset("rollback", corpus.name)
    assert code == 3
    assert "no earlier release" in told
    code, told = mindset("ask", "nobody", "hello")
    assert (code, "UnknownKnowledgeBase" in told) == (3, True)
    code, told = mindset("ask", corpus.name, "  ")
    assert code == 2
    assert mindset("releases", corpus.name, "--json")[1]["versions"][0]["state"] == "ready"
    assert mindset("maintain", corpus.name, "--json")[1]["state"] == "COMPLETED"
    assert mindset("up")[0] == 4
