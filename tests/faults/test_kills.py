"""Kill a nightly run or maintenance at any moment, run once more, and compare with an uninterrupted run.

Questions are asked throughout. `make faults KILLS=500` makes more kills; `kills.py` has the settings."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from mindset.application import Installation, open_installation
from mindset.catalog import build_lock
from mindset.catalog.releases import version_snapshot
from mindset.catalog.segments import Segment
from mindset.catalog.transactions import rows
from mindset.config.settings import Settings
from mindset.errors import BuildInProgress, IndexDamaged, ServiceUnavailable
from tests.corpus import SUBJECTS, Corpus, begin_build, document, run_night
from tests.faults.chroma import DAMAGES, VISIBLE_DAMAGES, DirectChroma
from tests.faults.invariants import check_invariants, check_segments, check_tidiness, check_vectors
from tests.faults.jobs import Job, Work, maintain
from tests.faults.kill_counts import Tally, count
from tests.faults.kills import DECK, KILLS, THROUGH_PREFECT, Servers, Victim, batches, dealt, moment
from tests.faults.questions import QuestionLoad
from tests.waiting import wait_until

DOCUMENTS = 20


@dataclass
class Round:
    """The objects of a test's rounds."""

    installation: Installation
    corpus: Corpus
    servers: Servers
    choose: random.Random
    tally: Tally
    log: Path


@pytest.mark.slow
@pytest.mark.timeout(120 + 40 * len(DECK))
@pytest.mark.parametrize(
    ("seed", "kills"),
    list(batches(KILLS - THROUGH_PREFECT, len(DECK))),
    ids=str,
)
def test_kill_at_any_moment_loses_nothing(
    own_settings: Settings,
    servers: Servers,
    tmp_path: Path,
    tally: Tally,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
    kills: int,
) -> None:
    monkeypatch.setattr(build_lock, "TAKE_OVER_S", 1.0)  # some orphans are paused in the middle of a transaction
    choose = random.Random(seed)
    corpus = Corpus(tmp_path / "documents", own_settings.knowledge_bases)
    corpus.define(keep_versions=choose.choice([2, 3, 4]), max_deletion_ratio=1.0)
    corpus.fill(DOCUMENTS)
    questions = ["How many rooms are there?", *(f"What is said about the {subject}?" for subject in SUBJECTS)]
    with open_installation(own_settings) as installation:
        work = Round(installation, corpus, servers, choose, tally, tmp_path / "job.log")
        retry_until_success(work, "night")
        with QuestionLoad(installation, corpus.name, questions) as load, counted(load, tally):
            for during, victim in dealt(choose, kills):
                if choose.random() < 0.3:
                    load.take_down(choose.choice(present(corpus)))
                if victim == "segment":
                    damage_a_segment(work, during)
                elif victim in ("parent", "parent, and twin"):
                    orphan_a_night(work, twin=victim == "parent, and twin")
                else:
                    kill(work, during, victim)
                    retry_until_success(work, "night")
                check_invariants(installation, corpus.name, corpus.folder)
                load.check()
        retry_until_success(work, "maintenance")
        check_invariants(installation, corpus.name, corpus.folder)
        check_tidiness(installation, corpus.name)


def kill(work: Round, during: Work, victim: Victim) -> None:
    """Change the documents, start a run or maintenance, and kill at a random moment. Repeat if it had already ended."""
    while True:
        change(work.corpus, work.choose)
        if during == "maintenance":
            retry_until_success(work, "night")  # gives maintenance something to do
            change(work.corpus, work.choose)
        when = moment(work.choose, during)
        job = Job(during, work.installation.settings, work.corpus.name, work.log)
        if job.reach(when.stage):
            time.sleep(when.seconds)
            if victim == "process":
                killed = job.kill()
            else:
                server, _, immediately = victim.partition(", ")
                work.servers.kill(server, signal.SIGQUIT if immediately else signal.SIGKILL)
                killed = True
            job.wait()
            if killed:
                count(work.tally, f"killed: {victim} ({during})")
                count(work.tally, f"stage: {job.stage}")
                return
        assert victim != "process" or not job.refused(), work.log.read_text()
        count(work.tally, "ended before it could be killed")


def orphan_a_night(work: Round, *, twin: bool) -> None:
    """Pause the stages of a night at a random moment, let the next night take over, and then let them go on.

    The processes that hold no lock are what is left of a night with stages as deployments when its parent is killed."""
    while True:
        change(work.corpus, work.choose)
        token = begin_build(work.installation, work.corpus.name).token
        logs = [work.log.with_suffix(f".{number}.log") for number in range(1 + twin)]
        jobs = [Job("night", work.installation.settings, work.corpus.name, log, token) for log in logs]
        when = moment(work.choose, "night")
        reached = jobs[0].reach(when.stage)
        if reached:
            time.sleep(when.seconds)
            jobs[0].pause()
        if work.choose.random() < 0.5:
            change(work.corpus, work.choose)
        retry_until_success(work, "night")  # a twin that was not paused competes with it
        jobs[0].resume()
        ends = [job.wait() for job in jobs]
        count(work.tally, "orphans that were refused", sum(end != 0 for end in ends))
        check_segments(work.installation, work.corpus.name)
        if reached:
            # If the orphans finished their version in time, the segment of one of them is left to the next build.
            change(work.corpus, work.choose)
            retry_until_success(work, "night")
            count(work.tally, f"killed: parent of {'two processes' if twin else 'one process'} (night)")
            count(work.tally, f"stage: {when.stage} (orphan)")
            return
        count(work.tally, "ended before it could be killed")


def damage_a_segment(work: Round, during: Work) -> None:
    """Damage a live segment. The next run or maintenance must rebuild it without intervention."""
    segment = work.choose.choice(live_segments(work))
    damage = work.choose.choice(VISIBLE_DAMAGES if during == "night" else DAMAGES)
    DirectChroma(work.installation.settings.chroma_url or "").damage(segment.collection, damage)
    count(work.tally, f"killed: {damage} (segment, before a {during})")
    retry_until_success(work, during)
    # It was rebuilt under another name, or merged into another segment.
    assert segment.collection not in {live.collection for live in live_segments(work)}
    check_vectors(work.installation, work.corpus.name)
    change(work.corpus, work.choose)
    retry_until_success(work, "night")


def live_segments(work: Round) -> tuple[Segment, ...]:
    """Return the segments of the live version."""
    with work.installation.catalog.reading() as connection:
        live = version_snapshot(connection, work.corpus.name)
    assert live
    return live.segments


def retry_until_success(work: Round, what: Work) -> None:
    """Run it, and retry while a killed server restarts, as its flow would."""
    steps: dict[Work, Callable[[Installation, str], object]] = {"night": run_night, "maintenance": maintain}

    def succeeds() -> bool:
        count(work.tally, f"attempts: {what}")
        steps[what](work.installation, work.corpus.name)
        return True

    before = collections(work)
    refusals = (ServiceUnavailable, BuildInProgress, IndexDamaged)
    wait_until(succeeds, 60, f"The {what} did not succeed", interval_s=0.2, retry_on=refusals)
    count(work.tally, "nights" if what == "night" else "maintenances")
    after = collections(work)
    rebuilt = sum(before[segment] != after[segment] for segment in before.keys() & after.keys())
    count(work.tally, "segments rebuilt automatically", rebuilt)


def collections(work: Round) -> dict[int, str]:
    """Return {segment: collection} of the sealed segments. A rebuilt segment has another collection."""
    sealed = "SELECT id, collection FROM segment WHERE kb = %(kb)s AND state = 'sealed'"

    def read() -> list[dict[int, str]]:
        with work.installation.catalog.reading() as connection:
            return [dict(rows(connection, sealed, kb=work.corpus.name))]

    return wait_until(read, 60, "Postgres did not answer", retry_on=(ServiceUnavailable,))[0]


def present(corpus: Corpus) -> list[str]:
    """Return the names of the documents."""
    return sorted(file.name for file in corpus.folder.iterdir())


def change(corpus: Corpus, choose: random.Random) -> None:
    """Edit, rename, delete and add some documents. Their number stays about the same."""
    names = present(corpus)
    edited, renamed, *deleted = choose.sample(names, choose.randint(3, 5))
    corpus.write(edited, document(choose.randint(0, 99), sections=choose.randint(1, 6)))
    (corpus.folder / renamed).rename(corpus.folder / f"doc{choose.randint(10_000, 99_999)}.md")
    for name in deleted:
        (corpus.folder / name).unlink()
    while len(present(corpus)) < DOCUMENTS or choose.random() < 0.5:
        number = choose.randint(100, 9_999)
        corpus.write(f"doc{number}.md", document(number, sections=choose.randint(1, 4)))


@contextmanager
def counted(load: QuestionLoad, tally: Tally) -> Iterator[None]:
    """Count the results of the questions, also if a check fails."""
    try:
        yield
    finally:
        for what in ("asked", "refused", "degraded"):
            count(tally, f"questions: {what}", getattr(load, what))
        count(tally, "questions: wrong", len(load.wrong))
