"""The experiments: each measures one promise of the API from outside its process.

The module is longer than 300 lines because the four experiments share their loads and their measurements."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psutil

from benchmarks.serving.client import Client
from benchmarks.serving.setup import KB, Setup, api, paced
from mindset.auth.caller import ANYONE
from mindset.generation.nim import NimGenerator
from mindset.generation.protocol import Generator
from mindset.releases.promotion import promote

MIB = 2**20

# New streams per second: a quarter of what two cores can start. Each stream has 30 words, three seconds apart, so that the
# first of a thousand streams is still open when the last one starts.
_ARRIVALS = 20.0
_STREAM_TOKENS = 30

Took = tuple[float, float]
"""Milliseconds until the first token, and until the end."""


@dataclass
class Measured:
    """Figures by name, as they go into tables and JSON."""

    name: str
    figures: dict[str, Any] = field(default_factory=dict)


def overhead(where: Setup, rounds: int, clients: int) -> Measured:
    """Compare `/v1/answers` with the same retrieval and model without the API, in turns; milliseconds."""
    with paced(0.03, 0.005, 12) as model, api(where.installation.settings, model) as (_, port):
        generator = NimGenerator(f"http://127.0.0.1:{model}/v1", "paced", deadline_s=60)
        bares, serveds = asyncio.run(_in_turns(where, generator, port, rounds))
        busy = asyncio.run(_concurrently(port, where.questions, clients, rounds // 2))
        generator.close()
    firsts = [served[0] - bare[0] for served, bare in zip(serveds, bares, strict=True)]
    wholes = [served[1] - bare[1] for served, bare in zip(serveds, bares, strict=True)]
    return Measured(
        "overhead",
        {
            "bare_p50": _cut([took[1] for took in bares], 50),
            "served_p50": _cut([took[1] for took in serveds], 50),
            "overhead_p50": _cut(wholes, 50),
            "overhead_p95": _cut(wholes, 95),
            "first_token_p50": _cut(firsts, 50),
            "first_token_p95": _cut(firsts, 95),
            "clients": clients,
            "clients_whole_p50": _cut(busy, 50),
            "clients_whole_p95": _cut(busy, 95),
        },
    )


async def _in_turns(where: Setup, generator: Generator, port: int, rounds: int) -> tuple[list[Took], list[Took]]:
    """Measure bare and served in turns. Each goes first equally often, so that both find caches equally warm."""
    warm_up = 20
    bares: list[Took] = []
    serveds: list[Took] = []
    async with Client(port) as client:
        for at, question in zip(range(rounds + warm_up), itertools.cycle(where.questions)):
            if at % 2:
                bares.append(_bare(where, generator, question))
            serveds.append(await _served(client, question))
            if not at % 2:
                bares.append(_bare(where, generator, question))
    return bares[warm_up:], serveds[warm_up:]


def _bare(where: Setup, generator: Generator, question: str) -> Took:
    started = time.perf_counter()
    result = where.installation.searcher.search(where.installation.knowledge_base(KB), question, ANYONE.principals)
    first = 0.0
    for piece in generator.stream(question, result.passages):
        if piece.text and not first:
            first = time.perf_counter()
    return (first - started) * 1000, (time.perf_counter() - started) * 1000


async def _served(client: Client, question: str) -> Took:
    started = time.perf_counter()
    first, name = 0.0, ""
    async for name, _, at in client.events("/v1/answers", _request(question)):
        if name == "answer.delta" and not first:
            first = at
    assert name == "answer.completed", name
    return (first - started) * 1000, (time.perf_counter() - started) * 1000


def streams(where: Setup, count: int) -> Measured:
    """Open this many streams at once in one process: its memory, complete streams, and cleanup after disconnects."""
    with (
        paced(0.5, 3.0, _STREAM_TOKENS) as model,
        api(
            where.installation.settings, model,
            MINDSET_API_MAX_ANSWERS=str(count + 10), MINDSET_PROVIDER_CONCURRENCY=str(count + 10),
        ) as (process, port),
    ):  # fmt: skip
        asyncio.run(_concurrently(port, where.questions, 4, 8))
        idle = process.memory_info().rss / MIB
        firsts: list[float] = []
        ends: list[str] = []

        async def one(number: int) -> None:
            async with Client(port) as client:
                await asyncio.sleep(number / _ARRIVALS)
                name, started = "nothing", time.perf_counter()
                async for event, _, at in client.events("/v1/answers", _request(where.questions[number % 300])):
                    if event == "answer.delta" and name != "answer.delta":
                        firsts.append((at - started) * 1000)
                    name = event or name
                ends.append(name)

        most, over = [idle], threading.Event()
        watching = threading.Thread(target=_watch, args=(process, most, over))
        watching.start()
        asyncio.run(_gather(one, count))
        over.set()
        watching.join()
        freed_s = asyncio.run(_disconnect(port, where.questions, count))
        after = process.memory_info().rss / MIB
    return Measured(
        "streams",
        {
            "open": count,
            "whole": ends.count("answer.completed"),
            "idle_mib": idle,
            "most_mib": max(most),
            "first_event_p50": _cut(firsts, 50),
            "first_event_p95": _cut(firsts, 95),
            "vanished_freed_s": freed_s,
            "after_mib": after,
        },
    )


def promotions(where: Setup, requests: int, count: int, clients: int = 8) -> Measured:
    """Search while versions 1 and 2 are promoted in turn: errors, versions that were not live, delay until each was used."""
    with paced(0.01, 0.001, 3) as model, api(where.installation.settings, model) as (_, port):
        asked: list[tuple[float, float, int, int]] = []
        done, stop = itertools.count(), threading.Event()
        lives: list[tuple[int, float, float]] = []

        def promoting() -> None:
            for number in range(count):
                started = time.perf_counter()
                promote(where.installation.catalog, KB, 1 + number % 2, "benchmark", "in turn")
                lives.append((1 + number % 2, started, time.perf_counter()))
                stop.wait(0.15)

        async def one(number: int) -> None:
            async with Client(port) as client:
                while next(done) < requests or len(lives) < count:
                    started = time.perf_counter()
                    question = where.questions[(number * 37 + len(asked)) % 300]
                    reply = await client.send("POST", "/v1/search", {"knowledge_base": KB, "question": question})
                    version = reply.body.get("version", 0) if reply.status == 200 else 0
                    asked.append((started, time.perf_counter(), reply.status, version))

        promoter = threading.Thread(target=promoting)
        promoter.start()
        asyncio.run(_gather(one, clients))
        stop.set()
        promoter.join()
    wrong = sum(
        not _was_live(lives, started, ended, version) for started, ended, status, version in asked if status == 200
    )
    return Measured(
        "promotions",
        {
            "requests": len(asked),
            "promotions": len(lives),
            "errors": sum(status != 200 for _, _, status, _ in asked),
            "wrong_version": wrong,
            "seconds_until_used_most": max(_until_used(lives, asked)),
        },
    )


def endings(where: Setup, clients: int) -> Measured:
    """Send SIGTERM while clients search and streams are open, and count the outcomes of the accepted requests."""
    with (
        paced(0.1, 0.05, 40) as model,
        api(where.installation.settings, model, MINDSET_SHUTDOWN_GRACE_S="8") as (process, port),
    ):
        outcomes: dict[str, int] = {}

        def record(outcome: str) -> None:
            outcomes[outcome] = outcomes.get(outcome, 0) + 1

        async def one(number: int) -> None:
            received = False
            while True:
                sent = False
                try:
                    async with Client(port) as client:
                        sent = True
                        if number % 2:
                            name = "nothing"
                            async for event, _, _ in client.events("/v1/answers", _request(where.questions[number])):
                                received, name = True, event or name
                            record(f"stream: {name}")
                        else:
                            reply = await client.send(
                                "POST", "/v1/search", {"knowledge_base": KB, "question": where.questions[number]}
                            )
                            record(f"search: {reply.status}")
                except ConnectionRefusedError:
                    return
                except (OSError, asyncio.IncompleteReadError, ValueError):
                    # Reset before the first byte of a response: the request was not accepted, and clients retry it.
                    record("cut off in the middle" if received else "not taken" if sent else "refused")
                    return
                received = False

        async def all_clients() -> None:
            asyncio.get_running_loop().call_later(3.0, process.terminate)
            await asyncio.gather(*(one(number) for number in range(clients)))

        started = time.perf_counter()
        asyncio.run(all_clients())
        code = process.wait(20)
        seconds = time.perf_counter() - started - 3.0
    return Measured("endings", {"outcomes": outcomes, "exit_code": code, "seconds": seconds})


def _request(question: str) -> dict[str, Any]:
    return {"knowledge_base": KB, "question": question, "stream": True}


async def _gather(one: Any, count: int) -> None:
    await asyncio.gather(*(one(number) for number in range(count)))


async def _concurrently(port: int, questions: Sequence[str], clients: int, requests: int) -> list[float]:
    """Return the milliseconds of complete streamed answers."""
    took: list[float] = []

    async def one(number: int) -> None:
        async with Client(port) as client:
            for at in range(max(requests // clients, 1)):
                started = time.perf_counter()
                async for _ in client.events("/v1/answers", _request(questions[(number + at * clients) % 300])):
                    pass
                took.append((time.perf_counter() - started) * 1000)

    await _gather(one, clients)
    return took


async def _disconnect(port: int, questions: Sequence[str], count: int) -> float:
    """Abort all clients at once, and return the seconds until the process has no open stream."""
    started_streams: set[int] = set()

    async def one(number: int) -> None:
        await asyncio.sleep(number / _ARRIVALS)
        client = await Client(port).__aenter__()
        try:
            async for name, _, _ in client.events("/v1/answers", _request(questions[number % 300])):
                if name == "answer.delta":
                    started_streams.add(number)
            raise RuntimeError(f"Stream {number} ended before the last one started")
        finally:
            client.abort()

    clients = [asyncio.ensure_future(one(number)) for number in range(count)]
    while len(started_streams) < count:
        for failed in (client for client in clients if client.done()):
            failed.result()  # raises its error
        await asyncio.sleep(0.05)
    for client in clients:
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    started = time.perf_counter()
    async with Client(port) as monitor:
        while await _open_streams(monitor):  # noqa: ASYNC110  # the streams of another process
            await asyncio.sleep(0.02)
    return time.perf_counter() - started


async def _open_streams(client: Client) -> int:
    text = str((await client.send("GET", "/metrics")).body)
    return int(
        float(next(line for line in text.splitlines() if line.startswith("mindset_answers_in_progress")).split()[-1])
    )


def _watch(process: psutil.Process, most: list[float], over: threading.Event) -> None:
    while not over.wait(0.25):
        most.append(process.memory_info().rss / MIB)


def _was_live(lives: Sequence[tuple[int, float, float]], started: float, ended: float, version: int) -> bool:
    """Return whether the version was live at any time during the request. Before the first promotion, version 2 is live."""
    state = [(2, 0.0, 0.0), *lives]
    for at, (live, since, _) in enumerate(state):
        until = state[at + 1][2] if at + 1 < len(state) else float("inf")
        if live == version and since <= ended and until >= started:
            return True
    return False


def _until_used(
    lives: Sequence[tuple[int, float, float]], asked: Sequence[tuple[float, float, int, int]]
) -> list[float]:
    """Return for each promotion how long requests that started after it were still answered from another version."""
    delays = []
    for at, (version, _, committed) in enumerate(lives):
        until = lives[at + 1][1] if at + 1 < len(lives) else float("inf")
        stale = [
            started - committed
            for started, ended, _, used in asked
            if committed < started and ended < until and used != version
        ]
        delays.append(max(stale, default=0.0))
    return delays


def _cut(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
