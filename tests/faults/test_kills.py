"""A night killed at any moment, then one more: the same as if nothing had happened, and questions answered all along."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from pydantic import SecretStr

from mindset.catalog.migrations import migrate
from mindset.errors import MindsetError
from mindset.installation import Installation, open_installation
from mindset.local.addresses import environment
from mindset.local.state import read
from mindset.local.supervision import local_stack
from mindset.settings import Settings
from tests.corpus import Corpus, document, run_night
from tests.faults.invariants import check_invariants
from tests.faults.questions import Asker

ROUNDS = int(os.environ.get("MINDSET_FAULT_ROUNDS", "5"))
"""Kills a test; the four tests together make 20 by default. More: `MINDSET_FAULT_ROUNDS=25 pytest tests/faults`."""


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Settings]:
    """A Postgres and a Chroma that may be killed."""
    directory = tmp_path / "own"
    with local_stack(directory, services=("postgres", "chroma")) as addresses:
        assert addresses.postgres_url
        migrate(addresses.postgres_url)
        definitions = tmp_path / "own_knowledge_bases"
        definitions.mkdir()
        yield Settings(
            directory=directory,
            knowledge_bases=definitions,
            postgres_url=SecretStr(addresses.postgres_url),
            chroma_url=addresses.chroma_url,
        )


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_a_night_killed_at_any_moment_loses_nothing(own_stack: Settings, tmp_path: Path, seed: int) -> None:
    choose = random.Random(seed)
    corpus = Corpus(tmp_path / "documents", own_stack.knowledge_bases)
    corpus.fill(25)
    with open_installation(own_stack) as installation:
        run_night(installation, corpus.name)
        with Asker(installation, corpus.name, "How many rooms are there?") as asker:
            for _ in range(ROUNDS):
                _change(corpus, choose)
                _kill_a_night(own_stack, corpus.name, choose)
                _night_until_it_succeeds(installation, corpus.name)
                check_invariants(installation, corpus.name, corpus.folder)
        asker.check()


def _change(corpus: Corpus, choose: random.Random) -> None:
    present = sorted(each.name for each in corpus.folder.iterdir())
    for name in choose.sample(present, 3):
        number = int(name.removeprefix("doc").removesuffix(".md"))
        corpus.write(name, document(number, sections=choose.randint(1, 6)))
    (corpus.folder / choose.choice(present)).unlink()
    for _ in range(choose.randint(1, 30)):
        number = choose.randint(100, 9_999)
        corpus.write(f"doc{number}.md", document(number))


def _kill_a_night(settings: Settings, kb: str, choose: random.Random) -> None:
    assert settings.postgres_url
    variables = environment_of(settings)
    night = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.night", kb],
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert night.stdout
    assert night.stdout.readline() == b"started\n"
    time.sleep(choose.uniform(0.0, 2.5))  # the moment: a night over this corpus takes about as long
    victim = choose.choice(["night", "night", "chroma", "postgres"])
    if victim == "night":
        night.kill()
    else:
        state = read(settings.directory)
        assert state
        with suppress(ProcessLookupError):  # still on its way back from the round before
            os.kill(state.servers[victim].pid, signal.SIGKILL)
    night.wait(60)


def environment_of(settings: Settings) -> dict[str, str]:
    state = read(settings.directory)
    assert state
    return environment(state.addresses) | {"MINDSET_KNOWLEDGE_BASES": str(settings.knowledge_bases)}


def _night_until_it_succeeds(installation: Installation, kb: str) -> None:
    """One more night; while a killed server is on its way back, it is refused and tried again, as Prefect would."""
    deadline = time.monotonic() + 60
    while True:
        try:
            run_night(installation, kb)
            return
        except MindsetError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
