"""A night or a maintenance killed at any moment, then one more night: the same as if nothing had happened.

Questions are asked all along. `make faults KILLS=500` does more of it; see `victims.py` for what can be set."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from mindset.catalog.connection import rows
from mindset.catalog.releases import served
from mindset.catalog.segments import Segment
from mindset.errors import BuildInProgress, IndexDamaged, ServiceUnavailable
from mindset.installation import Installation, open_installation
from mindset.settings import Settings
from tests.corpus import SUBJECTS, Corpus, document, run_night
from tests.faults.chroma import AT_A_GLANCE, DAMAGES, Outside
from tests.faults.invariants import check_invariants, check_tidiness, check_vectors
from tests.faults.jobs import Job, Work, maintain
from tests.faults.questions import Asker
from tests.faults.tally import Tally, count
from tests.faults.victims import DECK, KILLS, THROUGH_PREFECT, Servers, Victim, batches, dealt, moment

DOCUMENTS = 20


@dataclass
class Round:
    """What a round works on."""

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
def test_what_is_killed_at_any_moment_loses_nothing(
    own_settings: Settings, servers: Servers, tmp_path: Path, tally: Tally, seed: int, kills: int
) -> None:
    choose = random.Random(seed)
    corpus = Corpus(tmp_path / "documents", own_settings.knowledge_bases)
    corpus.define(keep_versions=choose.choice([2, 3, 4]), largest_loss=1.0)
    corpus.fill(DOCUMENTS)
    questions = ["How many rooms are there?", *(f"What is said of the {subject}?" for subject in SUBJECTS)]
    with open_installation(own_settings) as installation:
        work = Round(installation, corpus, servers, choose, tally, tmp_path / "job.log")
        until_it_succeeds(work, "night")
        with Asker(installation, corpus.name, questions) as asker, counted(asker, tally):
            for during, victim in dealt(choose, kills):
                if choose.random() < 0.3:
                    asker.take_down(choose.choice(present(corpus)))
                if victim == "segment":
                    damage_a_segment(work, during)
                else:
                    kill(work, during, victim)
                    until_it_succeeds(work, "night")
                check_invariants(installation, corpus.name, corpus.folder)
                asker.check()
        until_it_succeeds(work, "maintenance")
        check_invariants(installation, corpus.name, corpus.folder)
        check_tidiness(installation, corpus.name)


def kill(work: Round, during: Work, victim: Victim) -> None:
    """Change the documents, start a night or a maintenance over them, and kill at a random moment; again, if it was over."""
    while True:
        change(work.corpus, work.choose)
        if during == "maintenance":
            until_it_succeeds(work, "night")  # which leaves something to maintain
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
        count(work.tally, "over before it could be killed")


def damage_a_segment(work: Round, during: Work) -> None:
    """Damage what is live behind the back of all; the next night, or maintenance, rebuilds it on its own."""
    segment = work.choose.choice(live_segments(work))
    damage = work.choose.choice(AT_A_GLANCE if during == "night" else DAMAGES)
    Outside(work.installation.settings.chroma_url or "").damage(segment.collection, damage)
    count(work.tally, f"killed: {damage} (segment, before a {during})")
    until_it_succeeds(work, during)
    # Rebuilt under another name, or merged into another segment.
    assert segment.collection not in {each.collection for each in live_segments(work)}
    check_vectors(work.installation, work.corpus.name)
    change(work.corpus, work.choose)
    until_it_succeeds(work, "night")


def live_segments(work: Round) -> tuple[Segment, ...]:
    """Those that questions are searched in now."""
    with work.installation.catalog.reading() as connection:
        live = served(connection, work.corpus.name)
    assert live
    return live.segments


def until_it_succeeds(work: Round, what: Work) -> None:
    """Once more; while a killed server is on its way back, it is refused and tried again, as its flow would."""
    steps: dict[Work, Callable[[Installation, str], object]] = {"night": run_night, "maintenance": maintain}
    before = collections(work)
    deadline = time.monotonic() + 60
    while True:
        try:
            steps[what](work.installation, work.corpus.name)
            break
        except (ServiceUnavailable, BuildInProgress, IndexDamaged):
            if time.monotonic() > deadline:
                raise
            count(work.tally, "tried again while servers were away")
            time.sleep(0.2)
    count(work.tally, "nights" if what == "night" else "maintenances")
    after = collections(work)
    count(work.tally, "rebuilt on their own", sum(before[each] != after[each] for each in before.keys() & after.keys()))


def collections(work: Round) -> dict[int, str]:
    """{segment: its collection} of those that are sealed: another one under the same number was rebuilt."""
    deadline = time.monotonic() + 60
    while True:
        try:
            with work.installation.catalog.reading() as connection:
                return dict(
                    rows(
                        connection,
                        "SELECT id, collection FROM segment WHERE kb = %(kb)s AND state = 'sealed'",
                        kb=work.corpus.name,
                    )
                )
        except ServiceUnavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def present(corpus: Corpus) -> list[str]:
    """The documents that are there."""
    return sorted(each.name for each in corpus.folder.iterdir())


def change(corpus: Corpus, choose: random.Random) -> None:
    """Edit, rename and delete some documents, and add others; there are always about as many."""
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
def counted(asker: Asker, tally: Tally) -> Iterator[None]:
    """What became of the questions, also where a check fails."""
    try:
        yield
    finally:
        for what in ("asked", "refused", "degraded"):
            count(tally, f"questions: {what}", getattr(asker, what))
        count(tally, "questions: wrong", len(asker.wrong))
