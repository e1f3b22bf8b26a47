"""Latency of `/v1/search` under concurrent clients, beside the bare work it stands on.

    python -m benchmarks.search [--kb guides] [--clients 8] [--requests 4000] [--pace 5]

Needs a running stack (`mindset up --detach`) in which the knowledge base is released. Two loads: closed, where each
client asks again at once, so that the machine is always full; and paced, where each client asks so many times a second.
The bare work is one process that embeds the question and asks Chroma for as many candidates, without HTTP API,
Postgres, full text or rights.
"""

from __future__ import annotations

import argparse
import http.client
import json
import logging
import random
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from mindset.embedding.registry import open_embedder
from mindset.evaluation.golden import load_golden_set
from mindset.index.chroma import ChromaIndex
from mindset.installation import Installation, address, open_installation
from mindset.local.state import connect
from mindset.settings import load_settings


def main() -> None:
    """Print a table of percentiles, in milliseconds."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--kb", default="guides")
    options.add_argument("--clients", type=int, default=8)
    options.add_argument("--requests", type=int, default=4_000)
    options.add_argument("--pace", type=float, default=5.0, help="requests a second of each paced client")
    chosen = options.parse_args()
    logging.getLogger("httpx").setLevel(logging.WARNING)
    settings = connect(load_settings(), "postgres", "chroma", "api")
    with open_installation(settings) as installation:
        questions = _questions(installation, chosen.kb)
        url = address(settings.api_url, "api_url")
        _load(url, chosen.kb, questions, chosen.clients, 400, None)  # warm up
        print(f"{'load':<28}{'p50':>8}{'p95':>8}{'p99':>8}{'requests/s':>12}{'failed':>8}")
        _print("closed", *_load(url, chosen.kb, questions, chosen.clients, chosen.requests, None))
        paced = max(chosen.requests // 4, 200)
        name = f"paced, {chosen.clients * chosen.pace:.0f} a second"
        _print(name, *_load(url, chosen.kb, questions, chosen.clients, paced, chosen.pace))
        _print("one client", *_load(url, chosen.kb, questions, 1, paced, None))
        _print("bare: embed + Chroma, 1", *_bare(installation, chosen.kb, questions, paced))


def _questions(installation: Installation, kb: str) -> list[str]:
    golden = load_golden_set(installation.knowledge_base(kb))
    assert golden, f"{kb} has no golden set to take questions from"
    return [each.question for each in golden.questions]


def _load(
    url: str, kb: str, questions: list[str], clients: int, requests: int, pace: float | None
) -> tuple[list[float], float, int]:
    """Milliseconds of each request, seconds in all, and how many failed."""
    target = urlsplit(url)
    milliseconds: list[float] = []
    failed = 0
    lock = threading.Lock()

    def client(number: int) -> None:
        nonlocal failed
        choose = random.Random(number)
        connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=30)
        mine, bad = [], 0
        for due in _pacing(requests // clients, pace, number / clients):
            if due > time.perf_counter():
                time.sleep(due - time.perf_counter())
            body = json.dumps({"knowledge_base": kb, "question": choose.choice(questions)})
            begun = time.perf_counter()
            connection.request("POST", "/v1/search", body, {"content-type": "application/json"})
            response = connection.getresponse()
            found = json.loads(response.read())
            mine.append((time.perf_counter() - begun) * 1000)
            bad += response.status != 200 or bool(found["degraded"])
        with lock:
            milliseconds.extend(mine)
            failed += bad

    started = time.perf_counter()
    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return milliseconds, time.perf_counter() - started, failed


def _pacing(requests: int, pace: float | None, offset: float) -> Iterator[float]:
    started = time.perf_counter()
    for number in range(requests):
        yield started + (number + offset) / pace if pace else 0.0


def _bare(installation: Installation, kb: str, questions: list[str], requests: int) -> tuple[list[float], float, int]:
    definition = installation.knowledge_base(kb)
    embedder = open_embedder(definition.embedding, installation.settings)
    view = installation.searcher.view(kb, None)
    index = ChromaIndex(address(installation.settings.chroma_url, "chroma_url"))

    def once(question: str) -> None:
        vector = embedder.embed_query(question)
        for segment in view.segments:
            index.search(segment.collection, vector, min(definition.retrieval.candidates, segment.count))

    once(questions[0])
    started = time.perf_counter()
    milliseconds = [_timed(once, questions[number % len(questions)]) for number in range(requests)]
    return milliseconds, time.perf_counter() - started, 0


def _timed(work: Callable[[str], None], question: str) -> float:
    begun = time.perf_counter()
    work(question)
    return (time.perf_counter() - begun) * 1000


def _print(name: str, milliseconds: list[float], seconds: float, failed: int) -> None:
    cuts = statistics.quantiles(milliseconds, n=100)
    rate = len(milliseconds) / seconds
    print(f"{name:<28}{cuts[49]:>8.1f}{cuts[94]:>8.1f}{cuts[98]:>8.1f}{rate:>12.0f}{failed:>8}")


if __name__ == "__main__":
    main()
