"""The setup of the experiments: a stack, a knowledge base of real sentences, a paced model, and the API process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml
from pydantic import SecretStr

from benchmarks.growth.nights import Notes, night
from benchmarks.ingest.corpus import real_sentences
from local_stack import ports
from local_stack.supervision import local_stack
from mindset.application import Installation, open_installation
from mindset.catalog.migrations import migrate
from mindset.config.settings import Settings
from mindset.embedding.wordllama import WordLlamaEmbedder

KB = "serving"
SERVICES = ("postgres", "valkey", "chroma")


@dataclass(frozen=True)
class Setup:
    """The setup of the experiments."""

    installation: Installation
    notes: Notes
    questions: list[str]
    directory: Path


@contextmanager
def setup(documents: int, sources: list[Path]) -> Iterator[Setup]:
    """Start a stack with a knowledge base of this many notes in two versions. Its model is `paced`."""
    with (
        tempfile.TemporaryDirectory(prefix="serving-", ignore_cleanup_errors=True) as name,
        local_stack(Path(name) / "stack", services=SERVICES) as addresses,
    ):
        folder = Path(name)
        assert addresses.postgres_url
        migrate(addresses.postgres_url)
        notes = Notes(folder / "notes", real_sentences(sources))
        definition = {
            "name": KB,
            "title": "Serving",
            "sources": [{"kind": "folder", "path": str(notes.folder)}],
            "generation": {"provider": "nim", "model": "paced", "deadline_s": 120, "fallback": []},
        }
        (folder / f"{KB}.yaml").write_text(yaml.safe_dump(definition))
        settings = Settings(
            directory=folder,
            knowledge_bases=folder,
            postgres_url=SecretStr(addresses.postgres_url),
            chroma_url=addresses.chroma_url,
            redis_url=SecretStr(addresses.redis_url or ""),
        )
        with open_installation(settings) as installation:
            embedder = WordLlamaEmbedder()
            notes.write(range(documents))
            night(installation, embedder, KB)
            notes.write(range(20), state=1)
            night(installation, embedder, KB)
            yield Setup(installation, notes, notes.questions(300), folder)


@contextmanager
def paced(first_s: float, pace_s: float, tokens: int) -> Iterator[int]:
    """Start a model that streams `tokens` words, the first after `first_s`, and yield its port."""
    port = ports.choose(["model"], fixed={}, remembered={})["model"]
    command = (sys.executable, "-m", "benchmarks.serving.provider", str(port), str(first_s), str(pace_s), str(tokens))
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        try:
            yield port
        finally:
            process.kill()


@contextmanager
def api(settings: Settings, model_port: int, **variables: str) -> Iterator[tuple[psutil.Process, int]]:
    """Start the API as a process, and yield it with its port. It is stopped with SIGTERM."""
    port = ports.choose(["api"], fixed={}, remembered={})["api"]
    assert settings.postgres_url
    assert settings.redis_url
    environment = os.environ | {
        "MINDSET_POSTGRES_URL": settings.postgres_url.get_secret_value(),
        "MINDSET_REDIS_URL": settings.redis_url.get_secret_value(),
        "MINDSET_CHROMA_URL": settings.chroma_url or "",
        "MINDSET_KNOWLEDGE_BASES": str(settings.knowledge_bases),
        "MINDSET_DIRECTORY": str(settings.directory),
        "MINDSET_NIM_URL": f"http://127.0.0.1:{model_port}/v1",
        "MINDSET_API_PORT": str(port),
        "MINDSET_LOG_LEVEL": "WARNING",
        "MINDSET_CACHE_TTL_S": "0",
        **variables,
    }
    process = subprocess.Popen([sys.executable, "-m", "api"], env=environment, stdout=subprocess.DEVNULL)
    try:
        _wait(f"http://127.0.0.1:{port}/readyz")
        yield psutil.Process(process.pid), port
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait(url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
