"""Latency and rate of `/v1/search` in one API process, beside the bare work it stands on, and where its time goes.

    python -m benchmarks.search [--chunks 100000] [--keep DIRECTORY] [--clients 8] [--requests 2000] [--pace 150]
                                [--rounds 3] [--cached] [--source FOLDER ...]

Starts a stack of its own and fills it with short real notes of a chunk each; with `--keep` it stays in that directory, and
is filled only once (100,000 chunks take some four minutes on two cores). Three loads, from a client that costs next to
nothing: closed, where each client asks again at once, so that the machine is always full; paced, so many requests a second
in all; and one client. `--cached` adds the closed load with the cache, in which every question was asked before.

Bare is a process that embeds the question and asks Chroma for as many candidates, without HTTP API, Postgres, full text or
rights, at the same numbers of clients. Rounds take turns, so that what else the machine does meets all of them; figures are
medians over the rounds.

The stages are told by the API itself: `view` is not among them, since it is read before the search. `dense` ends where the
answer was read, which is after that of the full text: they run at the same time, and the longer one counts. CPU is what the
processes of each server used, for one request of the closed load.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml
from pydantic import SecretStr

from benchmarks.growth.nights import KB, Notes, night
from benchmarks.ingest.corpus import real_sentences
from benchmarks.machine import machine
from benchmarks.serving.client import Client
from benchmarks.serving.place import api
from benchmarks.texts import DATA
from mindset.catalog.migrations import migrate
from mindset.embedding.protocol import ModelId
from mindset.embedding.wordllama import WordLlamaEmbedder
from mindset.installation import Installation, open_installation
from mindset.local.supervision import local_stack
from mindset.settings import Settings

_NO_PROVIDER = 9  # a port on which nobody listens: searches ask no model


@dataclass
class Load:
    """What a load gave, over all of its rounds."""

    p50: list[float] = field(default_factory=list)
    p95: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    failed: int = 0
    stages: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)

    def add(self, milliseconds: Sequence[float], seconds: float, failed: int = 0) -> None:
        """One round."""
        cuts = statistics.quantiles(milliseconds, n=100)
        for name, at in (("p50", 49), ("p95", 94), ("p99", 98)):
            getattr(self, name).append(cuts[at])
        self.rate.append(len(milliseconds) / seconds)
        self.failed += failed


def main() -> None:
    """Measure, and print tables as Markdown."""
    chosen = _options()
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with _filled(chosen.keep, chosen.chunks, chosen.source) as (installation, questions, directory):
        loads = _measure(installation, questions, directory, chosen)
    print(f"{chosen.chunks:,} chunks, {chosen.rounds} rounds; {json.dumps(machine())}\n")
    print(_table(loads))


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--chunks", type=int, default=100_000)
    options.add_argument("--keep", type=Path, help="directory of the stack, filled once")
    options.add_argument("--clients", type=int, default=8)
    options.add_argument("--requests", type=int, default=2_000, help="of each load in a round")
    options.add_argument("--pace", type=float, default=150.0, help="requests a second of the paced load, in all")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--cached", action="store_true", help="measure answers from the cache as well")
    options.add_argument("--source", type=Path, nargs="+", default=[DATA / "guides", DATA / "chunking" / "corpora"])
    return options.parse_args()


@contextmanager
def _filled(keep: Path | None, chunks: int, sources: Sequence[Path]) -> Iterator[tuple[Installation, list[str], Path]]:
    """A stack in which so many notes are released."""
    with tempfile.TemporaryDirectory(prefix="search-", ignore_cleanup_errors=True) as temporary:
        directory = (keep or Path(temporary)).absolute()
        directory.mkdir(parents=True, exist_ok=True)
        with local_stack(directory / "stack", services=["postgres", "valkey", "chroma"]) as addresses:
            assert addresses.postgres_url
            migrate(addresses.postgres_url)
            notes = Notes(directory / "notes", real_sentences(list(sources)))
            source = {"kind": "folder", "path": str(notes.folder)}
            (directory / f"{KB}.yaml").write_text(yaml.safe_dump({"name": KB, "title": "Notes", "sources": [source]}))
            settings = Settings(
                directory=directory,
                knowledge_bases=directory,
                postgres_url=SecretStr(addresses.postgres_url),
                chroma_url=addresses.chroma_url,
                redis_url=SecretStr(addresses.redis_url or ""),
            )
            with open_installation(settings) as installation:
                marker = directory / f"filled-{chunks}"
                if not marker.exists():
                    _say(f"filling with {chunks:,} chunks")
                    notes.write(range(chunks))
                    night(installation, WordLlamaEmbedder())
                    marker.touch()
                yield installation, notes.questions(1_000), directory


def _measure(
    installation: Installation, questions: list[str], directory: Path, chosen: argparse.Namespace
) -> dict[str, Load]:
    settings = installation.settings
    many, paced = f"closed, {chosen.clients} clients", f"paced, {chosen.pace:.0f} a second"
    loads = {
        name: Load() for name in (many, paced, "one client", f"bare, {chosen.clients} clients", "bare, one client")
    }
    alone = max(chosen.requests // 4, 200)
    with api(settings, _NO_PROVIDER) as (process, port):
        asyncio.run(_ask(port, questions, chosen.clients, 200, None, Load()))  # warms up
        for number in range(chosen.rounds):
            with _cpu(loads[many], process, directory, chosen.requests):
                asyncio.run(_ask(port, questions, chosen.clients, chosen.requests, None, loads[many]))
            _bare(installation, questions, chosen.clients, chosen.requests, loads[f"bare, {chosen.clients} clients"])
            asyncio.run(_ask(port, questions, 4 * chosen.clients, chosen.requests, chosen.pace, loads[paced]))
            asyncio.run(_ask(port, questions, 1, alone, None, loads["one client"]))
            _bare(installation, questions, 1, alone, loads["bare, one client"])
            _say(f"round {number + 1}: {loads[many].rate[-1]:.0f} a second")
    if chosen.cached:
        loads[f"cached, {chosen.clients} clients"] = cached = Load()
        few = questions[:100]
        with api(settings, _NO_PROVIDER, MINDSET_CACHE_TTL_S="3600") as (_, port):
            asyncio.run(_ask(port, few, chosen.clients, 2_000, None, Load()))
            for _ in range(chosen.rounds):
                asyncio.run(_ask(port, few, chosen.clients, 4 * chosen.requests, None, cached))
    return loads


async def _ask(
    port: int, questions: Sequence[str], clients: int, requests: int, pace: float | None, load: Load
) -> None:
    """A round of a load. A paced request's time counts from when it was due, also where its client was still waiting."""
    milliseconds: list[float] = []
    failed = 0
    started = time.perf_counter()

    async def client(number: int) -> None:
        nonlocal failed
        choose = random.Random(f"{number} {len(load.rate)}")
        async with Client(port) as connection:
            for request in range(requests // clients):
                begun = time.perf_counter()
                if pace:
                    begun = started + (request * clients + number) / pace
                    await asyncio.sleep(max(0.0, begun - time.perf_counter()))
                reply = await connection.send(
                    "POST", "/v1/search", {"knowledge_base": KB, "question": choose.choice(questions)}
                )
                milliseconds.append((time.perf_counter() - begun) * 1000)
                if reply.status != 200 or reply.body["degraded"]:
                    failed += 1
                else:
                    for stage, value in reply.body["milliseconds"].items():
                        load.stages.setdefault(stage, []).append(value)

    await asyncio.gather(*(client(number) for number in range(clients)))
    load.add(milliseconds, time.perf_counter() - started, failed)


def _bare(installation: Installation, questions: Sequence[str], clients: int, requests: int, load: Load) -> None:
    searcher = installation.searcher
    view = searcher.view(KB, None)
    embedder = searcher.embedder(ModelId(view.model))
    candidates = installation.knowledge_base(KB).retrieval.candidates
    milliseconds: list[float] = []

    def once(number: int) -> None:
        begun = time.perf_counter()
        vector = embedder.embed_query(questions[number % len(questions)])
        searcher.nearest(view, vector, candidates, begun + 30)
        milliseconds.append((time.perf_counter() - begun) * 1000)

    with ThreadPoolExecutor(clients) as threads:
        list(threads.map(once, range(4 * clients)))
        milliseconds.clear()
        started = time.perf_counter()
        list(threads.map(once, range(requests)))
        load.add(milliseconds, time.perf_counter() - started)


@contextmanager
def _cpu(load: Load, process: psutil.Process, directory: Path, requests: int) -> Iterator[None]:
    """Note the processor time of each server for a request."""
    before = _processor_seconds(process, directory)
    yield
    for name, seconds in _processor_seconds(process, directory).items():
        load.cpu.setdefault(name, []).append((seconds - before.get(name, 0)) * 1000 / requests)


def _processor_seconds(process: psutil.Process, directory: Path) -> dict[str, float]:
    found = {"API": sum(process.cpu_times()[:2]), "load": sum(psutil.Process().cpu_times()[:2])}
    # A backend of Postgres names its database in its title, and not its directory, which its parent names.
    for each in psutil.process_iter():
        try:
            title = " ".join([*each.cmdline(), *(each.parent() or each).cmdline()])
            name = "Postgres" if each.name().startswith("postgres") else "Chroma" if "chroma" in title else None
            if name and str(directory) in title:
                found[name] = found.get(name, 0) + sum(each.cpu_times()[:2])
        except psutil.Error:
            continue  # it ended meanwhile
    return found


def _table(loads: dict[str, Load]) -> str:
    median: Callable[[Sequence[float]], float] = statistics.median
    lines = ["| load | p50 ms | p95 ms | p99 ms | requests/s (least to most) | failed |", "| --- |" + " ---: |" * 5]
    for name, load in loads.items():
        spread = f"{median(load.rate):.0f} ({min(load.rate):.0f} to {max(load.rate):.0f})"
        lines.append(
            f"| {name} | {median(load.p50):.1f} | {median(load.p95):.1f} | {median(load.p99):.1f} | {spread} | {load.failed} |"
        )
    many, _, one, bare, bare_one = list(loads.values())[:5]
    alone = median(one.p50) / median(bare_one.p50)
    lines += [
        "",
        f"Over bare Chroma and embedding, p50: {median(many.p50) / median(bare.p50):.2f} x at many, {alone:.2f} x at one.",
        "",
        "| stage, p50 ms | many clients | one client |",
        "| --- | ---: | ---: |",
        *(f"| {stage} | {median(many.stages[stage]):.1f} | {median(one.stages[stage]):.1f} |" for stage in one.stages),
        f"| HTTP, view and access | {_outside(many):.1f} | {_outside(one):.1f} |",
        "",
        "| CPU for a request | ms |",
        "| --- | ---: |",
        *(f"| {name} | {median(values):.2f} |" for name, values in many.cpu.items()),
    ]
    return "\n".join(lines)


def _outside(load: Load) -> float:
    return statistics.median(load.p50) - statistics.median(load.stages["total"])


def _say(message: Any) -> None:
    print(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
