"""Everything that `mindset up` starts, once for all tests here: Prefect takes the better part of a minute."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.prepare import PROJECT, command
from mindset.installation import Installation, open_installation
from mindset.local.addresses import Addresses
from mindset.local.state import connect
from mindset.local.supervision import local_stack
from mindset.settings import Settings
from tests.corpus import Corpus
from tests.faults.tally import tally

__all__ = ["tally"]


@pytest.fixture(scope="package")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the stack and its definitions."""
    made = tmp_path_factory.mktemp("house")
    (made / "knowledge_bases").mkdir()
    return made


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
