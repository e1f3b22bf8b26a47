"""Prefect's worker and its flow runs, killed at seeded moments: the next scheduled night succeeds with no hand laid on."""

from __future__ import annotations

import random
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from mindset.installation import Installation
from mindset.local.addresses import Addresses
from mindset.nights import FlowRun, Nights
from tests.corpus import Corpus, run_night
from tests.faults.invariants import check_invariants
from tests.faults.jobs import STAGES
from tests.faults.questions import Asker
from tests.faults.tally import Tally, count
from tests.faults.test_kills import DOCUMENTS, change, counted
from tests.faults.victims import THROUGH_PREFECT, Servers, batches

BATCH = 10

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("prefect"), pytest.mark.timeout(180 + 180 * BATCH)]


@pytest.mark.parametrize(("seed", "kills"), list(batches(THROUGH_PREFECT, BATCH)), ids=str)
def test_the_night_after_a_killed_one_needs_no_hand(
    house: Addresses,
    corpus: Corpus,
    installation: Installation,
    directory: Path,
    tally: Tally,
    seed: int,
    kills: int,
) -> None:
    servers, choose = Servers(directory / "stack"), random.Random(seed)
    corpus.define(keep_versions=3, largest_loss=1.0)
    corpus.fill(DOCUMENTS)
    with Nights(house.prefect_api_url or "") as nights:
        run_night(installation, corpus.name)
        with Asker(installation, corpus.name, ["How many rooms are there?"]) as asker, counted(asker, tally):
            for number in range(kills):
                victim = ("flow run", "worker")[(seed + number) % 2]
                kill_a_night(nights, servers, corpus, victim, choose, tally)
                night_as_scheduled(nights, installation, corpus, tally)
                asker.check()


def kill_a_night(
    nights: Nights, servers: Servers, corpus: Corpus, victim: str, choose: random.Random, tally: Tally
) -> None:
    """Start a night through its deployment and kill its process, or the worker that started it, at a random moment."""
    while True:
        change(corpus, choose)
        run = nights.start("nightly/nightly", {"parameters": {"kb": corpus.name}})
        reach(nights, run, choose.randint(0, len(STAGES)))
        time.sleep(choose.uniform(0, 1) ** 2)
        stages = nights.stages(run.id)
        if not nights.get(run.id).ended and (victim == "worker" or kill_flow_run(run)):
            break
        count(tally, "over before it could be killed, or not yet begun")
        ended(nights, run)
    if victim == "worker":
        servers.kill("worker-cpu")
    count(tally, f"killed: {victim} (night through Prefect)")
    count(tally, f"stage: {STAGES[len(stages) - 1] if stages else 'before the first'} (through Prefect)")


def reach(nights: Nights, run: FlowRun, stages: int) -> None:
    """Wait until that many stages have begun, or the night is over."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and len(nights.stages(run.id)) < stages and not nights.get(run.id).ended:
        time.sleep(0.05)


def kill_flow_run(run: FlowRun) -> bool:
    """Kill the processes of a flow run; False where there is none."""
    found = False
    for process in psutil.process_iter(["environ"]):
        if (process.info["environ"] or {}).get("PREFECT__FLOW_RUN_ID") == run.id:
            with suppress(psutil.NoSuchProcess):
                process.kill()
                found = True
    return found


def night_as_scheduled(nights: Nights, installation: Installation, corpus: Corpus, tally: Tally) -> None:
    """Start the next night as a schedule would; it fails only as long as the killed worker's night is still at work."""
    deadline = time.monotonic() + 150
    while True:
        run = ended(nights, nights.start("nightly/nightly", {"parameters": {"kb": corpus.name}}))
        count(tally, "nights through Prefect")
        if run.succeeded:
            break
        assert f"Another build of {corpus.name} is running" in run.message, f"{run.state}: {run.message}"
        assert time.monotonic() < deadline
    check_invariants(installation, corpus.name, corpus.folder)


def ended(nights: Nights, run: FlowRun) -> FlowRun:
    """The run as it is at its end."""
    deadline = time.monotonic() + 150
    while not run.ended:
        assert time.monotonic() < deadline, f"{run.name} is {run.state}"
        time.sleep(0.2)
        run = nights.get(run.id)
    return run
