"""Kill Prefect's worker or its flow runs at seeded moments: the next scheduled night succeeds without intervention."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from cli.registration import PROJECT
from local_stack.addresses import Addresses, environment
from local_stack.loopback import send_to_prefect
from mindset.application import Installation
from mindset.pipeline.prefect_client import FlowRun, PrefectClient
from tests.corpus import Corpus, run_night
from tests.faults.invariants import check_invariants
from tests.faults.jobs import STAGES
from tests.faults.kill_counts import Tally, count
from tests.faults.kills import ORPHANS_THROUGH_PREFECT, SEED, THROUGH_PREFECT, Servers, batches
from tests.faults.questions import QuestionLoad
from tests.faults.test_kills import DOCUMENTS, change, counted
from tests.waiting import wait_until

BATCH = 10

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("prefect"), pytest.mark.timeout(180 + 180 * BATCH)]


@pytest.mark.parametrize(("seed", "kills"), list(batches(THROUGH_PREFECT, BATCH)), ids=str)
def test_night_after_a_killed_one_succeeds_without_intervention(
    house: Addresses,
    corpus: Corpus,
    installation: Installation,
    directory: Path,
    tally: Tally,
    seed: int,
    kills: int,
) -> None:
    servers, choose = Servers(directory / "stack"), random.Random(seed)
    corpus.define(keep_versions=3, max_deletion_ratio=1.0)
    corpus.fill(DOCUMENTS)
    with PrefectClient(house.prefect_api_url or "") as nights:
        run_night(installation, corpus.name)
        with QuestionLoad(installation, corpus.name, ["How many rooms are there?"]) as load, counted(load, tally):
            for number in range(kills):
                victim = ("flow run", "worker")[(seed + number) % 2]
                kill_a_night(nights, servers, corpus, victim, choose, tally)
                night_as_scheduled(nights, installation, corpus, tally)
                load.check()


@pytest.mark.parametrize("seed", range(SEED, SEED + ORPHANS_THROUGH_PREFECT))
def test_stage_that_outlives_its_night_does_not_disturb_the_next_one(
    house: Addresses, corpus: Corpus, installation: Installation, directory: Path, tally: Tally, seed: int
) -> None:
    """Stages run as deployments. The parent is killed; its stage is paused, and goes on after the next night."""
    choose = random.Random(seed)
    corpus.define(keep_versions=3, max_deletion_ratio=1.0)
    corpus.fill(DOCUMENTS)
    run_night(installation, corpus.name)
    with (
        PrefectClient(house.prefect_api_url or "") as nights,
        QuestionLoad(installation, corpus.name, ["How many rooms are there?"]) as load,
        counted(load, tally),
    ):
        change(corpus, choose)
        parent = night_as_deployments(house, directory, corpus.name)
        stage = STAGES[seed % len(STAGES)]
        orphan = wait_until(lambda: stage_process(house, corpus.name, stage, parent), 200, f"{stage} did not start")
        orphan.suspend()
        parent.kill()
        parent.wait()
        count(tally, "killed: parent of a night as deployments (through Prefect)")
        count(tally, f"stage: {stage} (orphan, through Prefect)")
        change(corpus, choose)
        night_as_scheduled(nights, installation, corpus, tally)
        orphan.resume()
        with suppress(psutil.NoSuchProcess):
            orphan.wait(120)
        night_as_scheduled(nights, installation, corpus, tally)
        load.check()


def night_as_deployments(house: Addresses, directory: Path, kb: str) -> subprocess.Popen[bytes]:
    """Start a night, in a process of its own, whose stages are runs of their deployments."""
    program = (
        "import sys; from flows.nightly import NightlyParameters, nightly; nightly(NightlyParameters(kb=sys.argv[1]))"
    )
    variables = {"MINDSET_STAGES": "deployments", "MINDSET_KNOWLEDGE_BASES": str(directory / "knowledge_bases")}
    return subprocess.Popen(
        [sys.executable, "-c", program, kb],
        env=os.environ | environment(house, directory / "stack") | variables,
        cwd=PROJECT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def stage_process(house: Addresses, kb: str, stage: str, parent: subprocess.Popen[bytes]) -> psutil.Process | None:
    """Return the process of a stage's run once its run has started, or None."""
    assert parent.poll() is None, f"the night ended before {stage}"
    query = {"flows": {"name": {"any_": [stage]}}, "flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}}}
    _, runs = send_to_prefect("POST", f"{house.prefect_api_url}/flow_runs/filter", query)
    ids = {run["id"] for run in runs if run["name"].startswith(kb)}
    for process in psutil.process_iter(["environ"]):
        if (process.info["environ"] or {}).get("PREFECT__FLOW_RUN_ID") in ids:
            return process
    return None


def kill_a_night(
    nights: PrefectClient, servers: Servers, corpus: Corpus, victim: str, choose: random.Random, tally: Tally
) -> None:
    """Start a night through its deployment, and kill its process or its worker at a random moment."""
    while True:
        change(corpus, choose)
        run = nights.start("nightly/nightly", {"parameters": {"kb": corpus.name}})
        reach(nights, run, choose.randint(0, len(STAGES)))
        time.sleep(choose.uniform(0, 1) ** 2)
        stages = nights.stages(run.id)
        if not nights.get(run.id).ended and (victim == "worker" or kill_flow_run(run)):
            break
        count(tally, "ended before it could be killed, or not started yet")
        ended(nights, run)
    if victim == "worker":
        servers.kill("worker-cpu")
    count(tally, f"killed: {victim} (night through Prefect)")
    count(tally, f"stage: {STAGES[len(stages) - 1] if stages else 'before the first'} (through Prefect)")


def reach(nights: PrefectClient, run: FlowRun, stages: int) -> None:
    """Wait until this many stages have started, or the night has ended."""
    wait_until(
        lambda: len(nights.stages(run.id)) >= stages or nights.get(run.id).ended,
        150,
        f"{run.name} did not reach stage {stages}",
        interval_s=0.05,
    )


def kill_flow_run(run: FlowRun) -> bool:
    """Kill the processes of a flow run. Return False if it has none."""
    killed = False
    for process in psutil.process_iter(["environ"]):
        if (process.info["environ"] or {}).get("PREFECT__FLOW_RUN_ID") == run.id:
            with suppress(psutil.NoSuchProcess):
                process.kill()
                killed = True
    return killed


def night_as_scheduled(nights: PrefectClient, installation: Installation, corpus: Corpus, tally: Tally) -> None:
    """Start the next night as a schedule would. It may fail only while the killed worker's night still runs."""

    def succeeds() -> bool:
        run = ended(nights, nights.start("nightly/nightly", {"parameters": {"kb": corpus.name}}))
        count(tally, "nights through Prefect")
        if not run.succeeded:
            assert f"Another build of {corpus.name} is running" in run.message, f"{run.state}: {run.message}"
        return run.succeeded

    wait_until(succeeds, 150, "No night succeeded")
    check_invariants(installation, corpus.name, corpus.folder)


def ended(nights: PrefectClient, run: FlowRun) -> FlowRun:
    """Wait for the end of a run, and return its last state."""
    wait_until(lambda: nights.get(run.id).ended, 150, f"{run.name} did not end", interval_s=0.2)
    return nights.get(run.id)
