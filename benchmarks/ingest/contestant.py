"""The interface of a contestant, and the list of contestants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol

Scenario = Literal["cold", "unchanged", "changed", "deleted"]

SCENARIOS: tuple[Scenario, ...] = ("cold", "unchanged", "changed", "deleted")


@dataclass(frozen=True)
class Task:
    """The task of a contestant's process, sent to it as JSON."""

    contestant: str
    embedder: str
    documents: str
    """Folder of the documents."""
    state: str
    """Folder for the contestant's state, kept from one scenario to the next."""
    hnsw: dict[str, Any]
    look_for: list[str]
    """URIs of documents whose searchable texts are reported after the work."""
    chroma_url: str
    postgres_url: str = ""
    prefect_api_url: str = ""

    @property
    def folder(self) -> Path:
        return Path(self.documents)


class Contestant(Protocol):
    """Created with everything imported, loaded and warm; one per scenario, in its own process."""

    def run(self) -> None:
        """Bring the index up to date with the folder. This is what is measured."""
        ...

    def searchable(self, uris: Sequence[str]) -> tuple[int, dict[str, list[str]]]:
        """Return the number of chunks that a search can return, and the texts of those of these documents."""
        ...

    @property
    def peak_bytes(self) -> int | None:
        """Peak memory of the process that did the work; None if it was this one."""
        ...


@dataclass(frozen=True)
class Entry:
    """A contestant's entry in the list, which does not import it."""

    title: str
    factory: str
    """`module:class`; the class takes a Task."""
    packages: tuple[str, ...]
    """Packages whose versions are recorded with the result."""
    services: tuple[str, ...] = ("chroma",)
    peer: bool = False
    """Whether it runs in the environment of the other libraries."""
    remembers: bool = True
    """Whether it can update an index; False: it can only build one from scratch."""
    embedders: tuple[str, ...] = ("wordllama", "constant")


_STACK = ("postgres", "valkey", "chroma", "prefect", "worker-cpu", "worker-gpu", "api")

CONTESTANTS: dict[str, Entry] = {
    "bare": Entry(
        "bare: embed, add to Chroma", "benchmarks.ingest.bare:Bare", ("chromadb", "wordllama"), remembers=False
    ),
    "bare-texts": Entry(
        "bare, texts in Chroma too", "benchmarks.ingest.bare:BareWithTexts", ("chromadb", "wordllama"), remembers=False
    ),
    "mindset": Entry(
        "Product Mindset, stages",
        "benchmarks.ingest.stages:Stages",
        ("chromadb", "psycopg", "wordllama"),
        services=("postgres", "chroma"),
    ),
    "nightly": Entry(
        "Product Mindset, night by Prefect",
        "benchmarks.ingest.nightly:Nightly",
        ("chromadb", "prefect", "psycopg", "wordllama"),
        services=_STACK,
        embedders=("wordllama",),
    ),
    "llamaindex": Entry(
        "LlamaIndex",
        "benchmarks.ingest.peers.llamaindex:LlamaIndex",
        ("llama-index-core", "llama-index-vector-stores-chroma", "chromadb"),
        peer=True,
    ),
    "haystack": Entry(
        "Haystack",
        "benchmarks.ingest.peers.haystack:Haystack",
        ("haystack-ai", "chroma-haystack", "chromadb"),
        peer=True,
    ),
    "langchain": Entry(
        "LangChain",
        "benchmarks.ingest.peers.langchain:LangChain",
        ("langchain-core", "langchain-classic", "langchain-chroma", "langchain-text-splitters", "chromadb"),
        peer=True,
    ),
}


def open_contestant(task: Task) -> Contestant:
    """Return the contestant of a task, ready to run."""
    module, _, name = CONTESTANTS[task.contestant].factory.partition(":")
    make: Callable[[Task], Contestant] = getattr(import_module(module), name)
    return make(task)
