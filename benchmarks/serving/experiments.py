"""Each experiment measures one promise of the serving API, from outside the process that keeps it."""

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
from benchmarks.serving.place import KB, Place, api, paced
from mindset.access.caller import ANYONE
from mindset.generation.nim import NimGenerator
from mindset.generation.protocol import Generator
from mindset.releases import promote

MIB = 2**20

# Streams a second, a quarter of what two cores can begin; and words of each, three seconds apart, so that the first is still open
# when the last of a thousand has come.
_ARRIVALS = 20.0
_STREAM_TOKENS = 30

Took = tuple[float, float]
"""Milliseconds until the first token, and until the end."""


@dataclass
class Measured:
    """Figures by name, as they go into tables and JSON."""

    name: str
    figures: dict[str, Any] = field(default_factory=dict)


def overhead(where: Place, rounds: int, clients: int) -> Measured:
    """`/v1/answers` beside the same retrieval and the same model without it, one after the other; milliseconds."""
    with paced(0.03, 0.005, 12) as model, api(where.installation.settings, model) as (_, port):
        generator = NimGenerator(f"http://127.0.0.1:{model}/v1", "paced", deadline_s=60)
        bares, serveds = asyncio.run(_in_turns(where, generator, port, rounds))
        busy = asyncio.run(_concurrently(port, where.questions, clients, rounds // 2))
        generator.close()
    firsts = [one[0] - other[0] for one, other in zip(serveds, bares, strict=True)]
    wholes = [one[1] - other[1] for one, other in zip(serveds, bares, strict=True)]
    return Measured(
        "overhead",
        {
            "bare_p50": _cut([each[1] for each in bares], 50),
            "served_p50": _cut([each[1] for each in serveds], 50),
            "overhead_p50": _cut(wholes, 50),
            "overhead_p95": _cut(wholes, 95),
            "first_token_p50": _cut(firsts, 50),
            "first_token_p95": _cut(firsts, 95),
            "clients": clients,
            "clients_whole_p50": _cut(busy, 50),
            "clients_whole_p95": _cut(busy, 95),
        },
    )


async def _in_turns(where: Place, generator: Generator, port: int, rounds: int) -> tuple[list[Took], list[Took]]:
    """Bare and served, each going first as often: what one finds warm, the other does too."""
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


def _bare(where: Place, generator: Generator, question: str) -> Took:
    begun = time.perf_counter()
    found = where.installation.searcher.search(where.installation.knowledge_base(KB), question, ANYONE.principals)
    first = 0.0
    for piece in generator.stream(question, found.passages):
        if piece.text and not first:
            first = time.perf_counter()
    return (first - begun) * 1000, (time.perf_counter() - begun) * 1000


async def _served(client: Client, question: str) -> Took:
    begun = time.perf_counter()
    first, name = 0.0, ""
    async for name, _, at in client.events("/v1/answers", _asking(question)):
        if name == "answer.delta" and not first:
            first = at
    assert name == "answer.completed", name
    return (first - begun) * 1000, (time.perf_counter() - begun) * 1000


def streams(where: Place, count: int) -> Measured:
    """So many streams open at once in one process: its memory, whether all end whole, and what vanished clients leave."""
    with (
        paced(0.5, 3.0, _STREAM_TOKENS) as model,
        api(
            where.installation.settings, model,
            MINDSET_API_STREAMS=str(count + 10), MINDSET_PROVIDER_CONCURRENCY=str(count + 10),
        ) as (process, port),
    ):  # fmt: skip
        asyncio.run(_concurrently(port, where.questions, 4, 8))
        idle = process.memory_info().rss / MIB
        firsts: list[float] = []
        ends: list[str] = []

        async def one(number: int) -> None:
            async with Client(port) as client:
                await asyncio.sleep(number / _ARRIVALS)
                name, begun = "nothing", time.perf_counter()
                async for event, _, at in client.events("/v1/answers", _asking(where.questions[number % 300])):
                    if event == "answer.delta" and name != "answer.delta":
                        firsts.append((at - begun) * 1000)
                    name = event or name
                ends.append(name)

        most, over = [idle], threading.Event()
        watching = threading.Thread(target=_watch, args=(process, most, over))
        watching.start()
        asyncio.run(_gather(one, count))
        over.set()
        watching.join()
        vanished = asyncio.run(_vanish(port, where.questions, count))
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
            "vanished_freed_s": vanished,
            "after_mib": after,
        },
    )


def promotions(where: Place, requests: int, count: int, clients: int = 8) -> Measured:
    """Searches while versions 1 and 2 are promoted in turn: errors, versions that were not live, and how soon each was used."""
    with paced(0.01, 0.001, 3) as model, api(where.installation.settings, model) as (_, port):
        asked: list[tuple[float, float, int, int]] = []
        done, stop = itertools.count(), threading.Event()
        lives: list[tuple[int, float, float]] = []

        def promoting() -> None:
            for number in range(count):
                begun = time.perf_counter()
                promote(where.installation.catalog, KB, 1 + number % 2, "benchmark", "in turn")
                lives.append((1 + number % 2, begun, time.perf_counter()))
                stop.wait(0.15)

        async def one(number: int) -> None:
            async with Client(port) as client:
                while next(done) < requests or len(lives) < count:
                    begun = time.perf_counter()
                    question = where.questions[(number * 37 + len(asked)) % 300]
                    reply = await client.send("POST", "/v1/search", {"knowledge_base": KB, "question": question})
                    version = reply.body.get("version", 0) if reply.status == 200 else 0
                    asked.append((begun, time.perf_counter(), reply.status, version))

        promoter = threading.Thread(target=promoting)
        promoter.start()
        asyncio.run(_gather(one, clients))
        stop.set()
        promoter.join()
    wrong = sum(not _was_live(lives, begun, ended, version) for begun, ended, status, version in asked if status == 200)
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


def endings(where: Place, clients: int) -> Measured:
    """SIGTERM while clients ask and streams are open: what became of each request that the process had taken."""
    with (
        paced(0.1, 0.05, 40) as model,
        api(where.installation.settings, model, MINDSET_SHUTDOWN_GRACE_S="8") as (process, port),
    ):
        outcomes: dict[str, int] = {}

        def note(what: str) -> None:
            outcomes[what] = outcomes.get(what, 0) + 1

        async def one(number: int) -> None:
            told = False
            while True:
                sent = False
                try:
                    async with Client(port) as client:
                        sent = True
                        if number % 2:
                            name = "nothing"
                            async for event, _, _ in client.events("/v1/answers", _asking(where.questions[number])):
                                told, name = True, event or name
                            note(f"stream: {name}")
                        else:
                            reply = await client.send(
                                "POST", "/v1/search", {"knowledge_base": KB, "question": where.questions[number]}
                            )
                            note(f"search: {reply.status}")
                except ConnectionRefusedError:
                    return
                except (OSError, asyncio.IncompleteReadError, ValueError):
                    # Reset before a byte came back: the process had not taken it, and any client sends it again.
                    note("cut off in the middle" if told else "not taken" if sent else "refused")
                    return
                told = False

        async def all_() -> None:
            asyncio.get_running_loop().call_later(3.0, process.terminate)
            await asyncio.gather(*(one(number) for number in range(clients)))

        begun = time.perf_counter()
        asyncio.run(all_())
        code = process.wait(20)
    return Measured("endings", {"outcomes": outcomes, "exit_code": code, "seconds": time.perf_counter() - begun - 3.0})


def _asking(question: str) -> dict[str, Any]:
    return {"knowledge_base": KB, "question": question, "stream": True}


async def _gather(one: Any, count: int) -> None:
    await asyncio.gather(*(one(number) for number in range(count)))


async def _concurrently(port: int, questions: Sequence[str], clients: int, each: int) -> list[float]:
    """Milliseconds of whole streamed answers."""
    took: list[float] = []

    async def one(number: int) -> None:
        async with Client(port) as client:
            for at in range(max(each // clients, 1)):
                begun = time.perf_counter()
                async for _ in client.events("/v1/answers", _asking(questions[(number + at * clients) % 300])):
                    pass
                took.append((time.perf_counter() - begun) * 1000)

    await _gather(one, clients)
    return took


async def _vanish(port: int, questions: Sequence[str], count: int) -> float:
    """Seconds until the process has no stream open, after all its clients have gone at once."""
    speaking: set[int] = set()

    async def one(number: int) -> None:
        await asyncio.sleep(number / _ARRIVALS)
        client = await Client(port).__aenter__()
        try:
            async for name, _, _ in client.events("/v1/answers", _asking(questions[number % 300])):
                if name == "answer.delta":
                    speaking.add(number)
            raise RuntimeError(f"stream {number} was over before all of them had begun")
        finally:
            client.abort()

    asking = [asyncio.ensure_future(one(number)) for number in range(count)]
    while len(speaking) < count:
        for ended in (each for each in asking if each.done()):
            ended.result()  # raises what broke it
        await asyncio.sleep(0.05)
    for each in asking:
        each.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    begun = time.perf_counter()
    async with Client(port) as client:
        while await _open_streams(client):  # noqa: ASYNC110  # another process's
            await asyncio.sleep(0.02)
    return time.perf_counter() - begun


async def _open_streams(client: Client) -> int:
    text = str((await client.send("GET", "/metrics")).body)
    return int(float(next(line for line in text.splitlines() if line.startswith("mindset_open_streams")).split()[-1]))


def _watch(process: psutil.Process, most: list[float], over: threading.Event) -> None:
    while not over.wait(0.25):
        most.append(process.memory_info().rss / MIB)


def _was_live(lives: Sequence[tuple[int, float, float]], begun: float, ended: float, version: int) -> bool:
    """Whether the version was live at some moment of the request; 2 was, before the first promotion."""
    state = [(2, 0.0, 0.0), *lives]
    for at, (live, since, _) in enumerate(state):
        until = state[at + 1][2] if at + 1 < len(state) else float("inf")
        if live == version and since <= ended and until >= begun:
            return True
    return False


def _until_used(
    lives: Sequence[tuple[int, float, float]], asked: Sequence[tuple[float, float, int, int]]
) -> list[float]:
    """For each promotion, how long requests that began after it were still answered by another version."""
    late = []
    for at, (version, _, committed) in enumerate(lives):
        until = lives[at + 1][1] if at + 1 < len(lives) else float("inf")
        stale = [
            begun - committed
            for begun, ended, _, used in asked
            if committed < begun and ended < until and used != version
        ]
        late.append(max(stale, default=0.0))
    return late


def _cut(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
