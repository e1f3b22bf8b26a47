"""The whole local stack, started once for all tests of this folder: Prefect takes most of a minute to start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.bootstrap import command
from cli.registration import PROJECT
from local_stack.addresses import Addresses
from local_stack.state import connect
from local_stack.supervision import local_stack
from mindset.application import Installation, open_installation
from mindset.config.settings import Settings
from tests.corpus import Corpus
from tests.faults.kill_counts import tally

__all__ = ["tally"]


@pytest.fixture(scope="package")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the stack and its definitions."""
    folder = tmp_path_factory.mktemp("house")
    (folder / "knowledge_bases").mkdir()
    return folder


@pytest.fixture(scope="package")
def house(directory: Path) -> Iterator[Addresses]:
    """Postgres, Chroma, Valkey, Prefect, its workers and the API."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINDSET_KNOWLEDGE_BASES", str(directory / "knowledge_bases"))
        with local_stack(directory / "stack", project=PROJECT, prepare=command()) as addresses:
            yield addresses


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def corpus(directory: Path, tmp_path: Path) -> Corpus:
    return Corpus(tmp_path / "documents", directory / "knowledge_bases")


@pytest.fixture
def installation(house: Addresses, directory: Path) -> Iterator[Installation]:
    settings = connect(Settings(directory=directory / "stack", knowledge_bases=directory / "knowledge_bases"))
    with open_installation(settings) as opened:
        yield opened
