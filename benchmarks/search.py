"""Latency and throughput of `/v1/search` in one API process, compared with bare embedding and vector search.

    python -m benchmarks.search [--chunks 100000] [--keep DIRECTORY] [--clients 1 4 8] [--requests 2000] [--pace 150]
                                [--rounds 3] [--cached] [--source FOLDER ...] [--out docs/benchmarks]

The benchmark starts its own stack and fills it with short real notes of one chunk each. With `--keep` the stack stays in
that directory and is filled only once (100,000 chunks take about four minutes on two cores). The load comes from
lightweight clients. Closed loads: each client sends its next request at once. Paced load: a fixed rate of requests in all,
however long they take. `--cached` adds closed loads with the cache, where each question was asked before. The table goes to
standard output; `search.svg` shows the closed loads.

Bare is a process that embeds the question and requests as many candidates from Chroma, without HTTP API, Postgres,
full-text search and access control, with the same numbers of clients. Rounds alternate between the loads, so that other
work on the machine affects all of them; figures are medians over the rounds.

The API reports the stages itself. Reading the version snapshot is not among them, since it precedes the search. `dense` and
full-text search run concurrently, and `dense` ends when its response was read, after the full-text result: the longer one
determines the total. CPU is the processor time of each server for one request of the closed load with the most clients.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import yaml
from pydantic import SecretStr

from benchmarks.growth.nights import KB, Notes, night
from benchmarks.ingest.corpus import real_sentences
from benchmarks.machine import machine
from benchmarks.search_report import Load, Loads, chart, table
from benchmarks.serving.client import Client
from benchmarks.serving.setup import api
from benchmarks.texts import DATA
from local_stack.supervision import local_stack
from mindset.application import Installation, open_installation
from mindset.catalog.migrations import migrate
from mindset.config.settings import Settings
from mindset.embedding.protocol import ModelId
from mindset.embedding.wordllama import WordLlamaEmbedder

_NO_PROVIDER = 9  # a closed port: searches need no model


def main() -> None:
    """Measure, print Markdown tables and write `search.svg`."""
    chosen = _options()
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with _filled(chosen.keep, chosen.chunks, chosen.source) as (installation, questions, directory):
        loads = _measure(installation, questions, directory, chosen)
    print(f"{chosen.chunks:,} chunks, {chosen.rounds} rounds; {json.dumps(machine())}\n")
    print(table(loads, chosen.pace))
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "search.svg").write_text(chart(loads, chosen.chunks), encoding="utf-8")


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--chunks", type=int, default=100_000)
    options.add_argument("--keep", type=Path, help="directory in which the stack stays; filled once")
    options.add_argument(
        "--clients", type=int, nargs="+", default=[1, 4, 8], help="concurrent clients; each number is a load"
    )
    options.add_argument(
        "--requests", type=int, default=2_000, help="requests per load and round; one client sends fewer"
    )
    options.add_argument("--pace", type=float, default=150.0, help="requests per second of the paced load")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--cached", action="store_true", help="also measure searches answered from the cache")
    options.add_argument("--source", type=Path, nargs="+", default=[DATA / "guides", DATA / "chunking" / "corpora"])
    options.add_argument("--out", type=Path, default=Path("docs/benchmarks"), help="folder of search.svg")
    return options.parse_args()


@contextmanager
def _filled(keep: Path | None, chunks: int, sources: Sequence[Path]) -> Iterator[tuple[Installation, list[str], Path]]:
    """Start a stack with a released knowledge base of this many notes."""
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
                    _log(f"filling with {chunks:,} chunks")
                    notes.write(range(chunks))
                    night(installation, WordLlamaEmbedder())
                    marker.touch()
                yield installation, notes.questions(1_000), directory


def _measure(installation: Installation, questions: list[str], directory: Path, chosen: argparse.Namespace) -> Loads:
    settings = installation.settings
    counts = sorted(chosen.clients)
    loads = Loads({count: Load() for count in counts}, {count: Load() for count in counts}, {}, Load())
    most = counts[-1]
    with api(settings, _NO_PROVIDER) as (process, port):
        asyncio.run(_ask(port, questions, most, 200, None, Load()))  # warms up
        for number in range(chosen.rounds):
            for clients in counts:
                requests = chosen.requests if clients > 1 else max(chosen.requests // 4, 200)
                with _cpu(loads.served[clients], process, directory, requests):
                    asyncio.run(_ask(port, questions, clients, requests, None, loads.served[clients]))
                _bare(installation, questions, clients, requests, loads.bare[clients])
            asyncio.run(_ask(port, questions, 4 * most, chosen.requests, chosen.pace, loads.paced))
            _log(f"round {number + 1}: {loads.served[most].rate[-1]:.0f} a second")
    if chosen.cached:
        loads.cached = {count: Load() for count in counts}
        repeated = questions[:100]
        with api(settings, _NO_PROVIDER, MINDSET_CACHE_TTL_S="3600") as (_, port):
            asyncio.run(_ask(port, repeated, most, 2_000, None, Load()))
            for _ in range(chosen.rounds):
                for clients in counts:
                    asyncio.run(_ask(port, repeated, clients, 2 * chosen.requests, None, loads.cached[clients]))
    return loads


async def _ask(
    port: int, questions: Sequence[str], clients: int, requests: int, pace: float | None, load: Load
) -> None:
    """Run one round of a load. A paced request is timed from when it was due, even if its client was still busy then."""
    milliseconds: list[float] = []
    failed = 0
    started = time.perf_counter()

    async def client(number: int) -> None:
        nonlocal failed
        choose = random.Random(f"{number} {len(load.rate)}")
        async with Client(port) as connection:
            for request in range(requests // clients):
                due = time.perf_counter()
                if pace:
                    due = started + (request * clients + number) / pace
                    await asyncio.sleep(max(0.0, due - time.perf_counter()))
                reply = await connection.send(
                    "POST", "/v1/search", {"knowledge_base": KB, "question": choose.choice(questions)}
                )
                milliseconds.append((time.perf_counter() - due) * 1000)
                if reply.status != 200 or reply.body["degraded"]:
                    failed += 1
                else:
                    for stage, value in reply.body["milliseconds"].items():
                        load.stages.setdefault(stage, []).append(value)

    await asyncio.gather(*(client(number) for number in range(clients)))
    load.add(milliseconds, time.perf_counter() - started, failed)


def _bare(installation: Installation, questions: Sequence[str], clients: int, requests: int, load: Load) -> None:
    searcher = installation.searcher
    snapshot = searcher.snapshot(KB)
    embedder = searcher.embedder(ModelId(snapshot.model))
    candidates = installation.knowledge_base(KB).retrieval.candidates
    milliseconds: list[float] = []

    def once(number: int) -> None:
        started = time.perf_counter()
        vector = embedder.embed_query(questions[number % len(questions)])
        searcher.dense.nearest(snapshot, vector, candidates, started + 30)
        milliseconds.append((time.perf_counter() - started) * 1000)

    with ThreadPoolExecutor(clients) as threads:
        list(threads.map(once, range(4 * clients)))
        milliseconds.clear()
        started = time.perf_counter()
        list(threads.map(once, range(requests)))
        load.add(milliseconds, time.perf_counter() - started)


@contextmanager
def _cpu(load: Load, process: psutil.Process, directory: Path, requests: int) -> Iterator[None]:
    """Record the processor time of each server per request."""
    before = _processor_seconds(process, directory)
    yield
    for name, seconds in _processor_seconds(process, directory).items():
        load.cpu.setdefault(name, []).append((seconds - before.get(name, 0)) * 1000 / requests)


def _processor_seconds(process: psutil.Process, directory: Path) -> dict[str, float]:
    seconds = {"API": sum(process.cpu_times()[:2]), "load": sum(psutil.Process().cpu_times()[:2])}
    # The title of a Postgres backend has its database but not its directory, which is in its parent's command line.
    for server in psutil.process_iter():
        try:
            title = " ".join([*server.cmdline(), *(server.parent() or server).cmdline()])
            name = "Postgres" if server.name().startswith("postgres") else "Chroma" if "chroma" in title else None
            if name and str(directory) in title:
                seconds[name] = seconds.get(name, 0) + sum(server.cpu_times()[:2])
        except psutil.Error:
            continue  # it ended meanwhile
    return seconds


def _log(message: Any) -> None:
    print(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
