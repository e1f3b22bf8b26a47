"""Servers that neither answer nor refuse, and the proxies before them."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import httpx
import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray

from mindset.application import Installation
from mindset.catalog import full_text as lexical
from mindset.config.build_options import Embedding
from mindset.config.settings import Settings
from mindset.embedding import registry as embedding_registry
from mindset.embedding.protocol import Embedder
from mindset.embedding.registry import open_embedder
from mindset.errors import IndexDamaged, ServiceUnavailable
from mindset.evaluation.evaluate import evaluate
from mindset.retrieval import search
from mindset.retrieval.fusion import reciprocal_rank_fusion
from mindset.retrieval.search import Searcher
from mindset.vector_index import client
from mindset.vector_index.chroma import ChromaIndex
from mindset.vector_index.http_client import ConnectionPool
from tests.corpus import Corpus, run_night
from tests.providers import ProviderServer, hang
from tests.served import api_at
from tests.waiting import wait_until

QUESTION = "How many rooms has the glacier 1?"


@pytest.fixture
def deaf() -> Iterator[str]:
    """The address of a server that takes connections and never answers, like one that is stopped."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


class Proxy:
    """Before a real Chroma: it answers with `status` instead, or hangs up on the second request of a connection."""

    def __init__(self, url: str) -> None:
        self.status: int | None = None
        self.hangs_up = False
        self.hung_up = 0
        proxy, target = self, urlsplit(url)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                self.requests = 0

            def do_GET(self) -> None:
                self.requests += 1
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                if proxy.hangs_up and self.requests > 1:
                    proxy.hung_up += 1
                    self.close_connection = True
                    return
                status, kind, answer = proxy.status or 0, "text/html", b"<h1>from the proxy</h1>"
                if not proxy.status:
                    onward = http.client.HTTPConnection(target.hostname or "", target.port)
                    onward.request(self.command, self.path, body, {"content-type": "application/json"})
                    response = onward.getresponse()
                    answer, status = response.read(), response.status
                    kind = response.headers["content-type"]
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def proxy(settings: Settings) -> Iterator[Proxy]:
    """A proxy before the test's Chroma."""
    made = Proxy(settings.chroma_url or "")
    serving = threading.Thread(target=made.server.serve_forever, daemon=True)
    serving.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    serving.join()


class Hanging:
    """An embedder that answers nothing before it is let go."""

    model_id, dimension = "wordllama:wordllama:256", 256

    def __init__(self) -> None:
        self.over = threading.Event()

    def embed_query(self, _: str) -> NDArray[np.float32]:
        self.over.wait(60)
        return np.ones(256, dtype=np.float32)

    def close(self) -> None:
        pass


def test_dense_steps_that_hang_leave_the_full_text_alone(
    installation: Installation, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus.fill(3)
    run_night(installation, corpus.name)
    corpus.define(retrieval={"deadline_s": 1.5})
    kb = installation.knowledge_base(corpus.name)
    hanging = Hanging()
    monkeypatch.setattr(embedding_registry, "open_embedder", lambda *_: hanging)
    searcher = Searcher(installation.catalog, installation.vectors, installation.settings, threads=2)
    try:
        for _ in range(4):  # more than there are threads
            found = searcher.search(kb, QUESTION, [])
            assert found.degraded == ("dense",)
            assert "deadline_s" in found.failures["dense"]
            assert found.passages[0].place.uri == "doc1.md"
    finally:
        hanging.over.set()
        searcher.close()


def test_a_search_asks_chroma_for_no_longer_than_it_has(
    installation: Installation, corpus: Corpus, deaf: str, proxy: Proxy
) -> None:
    corpus.fill(1)
    run_night(installation, corpus.name)
    collection = installation.searcher.snapshot(corpus.name).segments[0].collection
    index = ChromaIndex(proxy.url)
    vector = np.ones(256, dtype=np.float32)
    index.search(collection, vector, 1)
    index._connections = ConnectionPool(deaf)
    started = time.perf_counter()
    with pytest.raises(ServiceUnavailable, match="Chroma does not respond"):
        index.search(collection, vector, 1, 0.3)
    assert time.perf_counter() - started < 10, "a query's own time-out is 30 s"


@pytest.mark.parametrize("pinged", [True, False])
def test_a_stopped_chroma_holds_nobody_up(deaf: str, monkeypatch: pytest.MonkeyPatch, pinged: bool) -> None:
    monkeypatch.setattr(client, "_TIMEOUT", httpx.Timeout(1.0))
    index = ChromaIndex(deaf)
    call: Callable[[], object] = index.ping if pinged else index.collections
    _ = index._client
    started = time.perf_counter()
    with pytest.raises(ServiceUnavailable, match="Chroma does not respond"):
        call()
    assert time.perf_counter() - started < 20, "the client's own time-out is 60 s"


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_a_proxy_says_of_a_busy_chroma_damages_no_segment(
    installation: Installation, corpus: Corpus, proxy: Proxy, status: int
) -> None:
    name = f"{corpus.name}-00000000-0000-0000-0000-000000000000"
    list(installation.vectors.write(name, [(["a"], np.eye(1, 256, dtype=np.float32))]))
    index = ChromaIndex(proxy.url)
    assert index.count(name) == 1
    proxy.status = status
    for call in (index.ping, lambda: index.count(name), lambda: index.search(name, np.ones(256, dtype=np.float32), 1)):
        with pytest.raises(ServiceUnavailable, match=str(status)):
            call()
    proxy.status = None
    installation.vectors.drop(name)
    with pytest.raises(IndexDamaged, match="mindset maintain"):
        index.count(name)


def test_a_query_survives_a_kept_connection_that_its_server_closes(
    installation: Installation, corpus: Corpus, proxy: Proxy
) -> None:
    name = f"{corpus.name}-00000000-0000-0000-0000-000000000000"
    vector = np.eye(1, 256, dtype=np.float32)
    list(installation.vectors.write(name, [(["a"], vector)]))
    index = ChromaIndex(proxy.url)
    index.search(name, vector[0], 1)
    proxy.hangs_up = True
    assert [hit.chunk_id for hit in index.search(name, vector[0], 1)] == ["a"]
    assert proxy.hung_up == 1


def test_the_weight_of_dense_search_is_that_of_the_model_which_is_live(
    installation: Installation, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus.fill(2)
    run_night(installation, corpus.name)
    weights = []

    def watched(rankings: list[tuple[float, list[str]]]) -> list[str]:
        weights.append([weight for weight, _ in rankings])
        return reciprocal_rank_fusion(rankings)

    monkeypatch.setattr(search, "reciprocal_rank_fusion", watched)
    corpus.define(embedding={"provider": "nim"})
    installation.searcher.search(installation.knowledge_base(corpus.name), QUESTION, [], 1)
    assert weights[0] == [0.3, 1.0]
    corpus.define(retrieval={"dense_weight": 0.7})
    installation.searcher.search(installation.knowledge_base(corpus.name), QUESTION, [], 1)
    assert weights[-1] == [0.7, 1.0]


def test_the_first_question_of_an_evaluation_does_not_wait_for_the_model(
    installation: Installation, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(embedding: Embedding, settings: Settings) -> Embedder:
        time.sleep(2.5)
        return open_embedder(embedding, settings)

    monkeypatch.setattr(embedding_registry, "open_embedder", slowly)
    corpus.fill(2)
    _one_question(corpus)
    assert run_night(installation, corpus.name).evaluation


def test_an_evaluation_without_one_half_says_why(installation: Installation, corpus: Corpus) -> None:
    corpus.fill(2)
    run_night(installation, corpus.name)
    _one_question(corpus)
    installation.vectors.drop(installation.searcher.snapshot(corpus.name).segments[0].collection)
    with pytest.raises(ServiceUnavailable, match=r"without dense, so .* dense: Chroma cannot use .*mindset maintain"):
        evaluate(installation.catalog, installation.knowledge_base(corpus.name), installation.searcher, 1)


def _one_question(corpus: Corpus) -> None:
    quote = "Sentence 0 of section 0 says that the glacier 1 has 100 rooms."
    corpus.golden({"id": "one", "question": QUESTION, "evidence": [{"uri": "doc1.md", "quote": quote}]})


def test_connections_that_postgres_has_ended_are_noticed_by_no_search(
    installation: Installation, corpus: Corpus, postgres_url: str
) -> None:
    corpus.fill(2)
    run_night(installation, corpus.name)
    kb = installation.knowledge_base(corpus.name)
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        for _ in range(3):
            # Used a moment ago, so handed out without a look at whether they are still there.
            assert installation.searcher.search(kb, QUESTION, []).degraded == ()
            ended = admin.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            ).fetchall()
            assert ended
            assert installation.searcher.search(kb, QUESTION, []).degraded == ()


def test_a_full_text_search_that_is_late_is_cut_off_and_left_out(
    installation: Installation, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus.fill(2)
    run_night(installation, corpus.name)
    corpus.define(retrieval={"deadline_s": 1.5})
    kb = installation.knowledge_base(corpus.name)
    assert installation.searcher.search(kb, QUESTION, []).degraded == ()
    monkeypatch.setattr(lexical, "_statement", lambda *_: "SELECT pg_sleep(20)::text")
    found = installation.searcher.search(kb, QUESTION, [])
    assert (found.degraded, found.failures["lexical"][:23]) == (("lexical",), "Postgres did not finish")
    assert found.passages
    assert found.milliseconds["total"] < 10_000
    monkeypatch.undo()
    with installation.catalog.writing() as connection:
        assert connection.execute("SHOW statement_timeout").fetchall() == [("0",)]
        assert connection.execute("SHOW plan_cache_mode").fetchall() == [("auto",)]
    assert installation.searcher.search(kb, QUESTION, []).degraded == ()


def test_an_answer_of_chroma_that_nobody_waits_for_is_read_by_no_other_search(
    installation: Installation, corpus: Corpus
) -> None:
    name = f"{corpus.name}-00000000-0000-0000-0000-000000000000"
    vectors = np.eye(2, 256, dtype=np.float32)
    list(installation.vectors.write(name, [(["a", "b"], vectors)]))
    index = installation.vectors
    assert [hit.chunk_id for hit in index.search(name, vectors[0], 1)] == ["a"]
    for _ in range(5):
        left = index.start_search(name, vectors[0], 1, only_if_connected=True)
        other = index.start_search(name, vectors[1], 1)
        assert other
        if left:
            left.cancel()
        assert [hit.chunk_id for hit in other.hits()] == ["b"]
        other.cancel()  # of one that was read, nothing is left
        assert [hit.chunk_id for hit in index.search(name, vectors[1], 1)] == ["b"]


def test_an_embedder_that_hangs_keeps_nobody_from_starting(settings: Settings, corpus: Corpus) -> None:
    corpus.define(embedding={"provider": "nim", "model": "nvidia/nv-embedqa-e5-v5", "dimension": 1024})
    with ProviderServer() as provider:
        provider.fail("/embeddings", always=hang())
        with api_at(settings.model_copy(update={"nim_url": provider.nim_url})) as url:
            assert httpx.get(f"{url}/livez").text == "ok"
            wait_until(lambda: any(request.path.endswith("/embeddings") for request in provider.requests))
            assert not provider.left_early.is_set(), "the request was over before the API answered"
