"""Kill Prefect's worker or its flow runs at seeded moments: the next scheduled night succeeds without intervention."""

from __future__ import annotations

import random
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from local_stack.addresses import Addresses
from mindset.application import Installation
from mindset.pipeline.prefect_client import FlowRun, PrefectClient
from tests.corpus import Corpus, run_night
from tests.faults.invariants import check_invariants
from tests.faults.jobs import STAGES
from tests.faults.kill_counts import Tally, count
from tests.faults.kills import THROUGH_PREFECT, Servers, batches
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
