"""Timeouts of servers that accept connections but do not answer, and failures of proxies in front of them."""

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
from mindset.config.build_options import Embedding
from mindset.config.settings import Settings
from mindset.embedding import registry as embedding_registry
from mindset.embedding.protocol import Embedder
from mindset.embedding.registry import open_embedder
from mindset.errors import IndexDamaged, ServiceUnavailable
from mindset.evaluation.evaluate import measure
from mindset.providers.deadline import Deadline
from mindset.retrieval.search import Searcher
from mindset.vector_index import client
from mindset.vector_index.chroma import ChromaIndex
from mindset.vector_index.http_client import ConnectionPool, basic_authentication
from tests.corpus import Corpus, run_night
from tests.providers import ProviderServer, hang
from tests.served import api_at
from tests.waiting import wait_until

QUESTION = "How many rooms has the glacier 1?"


@pytest.fixture
def unresponsive_url() -> Iterator[str]:
    """The URL of a server that accepts connections and never answers, like a stopped process."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


class Proxy:
    """A proxy in front of a real Chroma. Can return `status` itself or close a connection on its second request."""

    def __init__(self, url: str) -> None:
        self.status: int | None = None
        self.closes_connections = False
        self.closed_connections = 0
        proxy, target = self, urlsplit(url)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                self.requests = 0

            def do_GET(self) -> None:
                self.requests += 1
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                if proxy.closes_connections and self.requests > 1:
                    proxy.closed_connections += 1
                    self.close_connection = True
                    return
                status, content_type, answer = proxy.status or 0, "text/html", b"<h1>from the proxy</h1>"
                if not proxy.status:
                    upstream = http.client.HTTPConnection(target.hostname or "", target.port)
                    headers = {"content-type": "application/json", **basic_authentication(url)}
                    upstream.request(self.command, self.path, body, headers)
                    response = upstream.getresponse()
                    answer, status = response.read(), response.status
                    content_type = response.headers["content-type"]
                self.send_response(status)
                self.send_header("content-type", content_type)
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
    """A proxy in front of the test's Chroma."""
    instance = Proxy(settings.chroma_url or "")
    serving = threading.Thread(target=instance.server.serve_forever, daemon=True)
    serving.start()
    yield instance
    instance.server.shutdown()
    instance.server.server_close()
    serving.join()


class HangingEmbedder:
    """An embedder that does not answer before `release` is set."""

    model_id, dimension = "wordllama:wordllama:256", 256

    def __init__(self) -> None:
        self.release = threading.Event()

    def embed_query(self, _: str, deadline: Deadline | None = None) -> NDArray[np.float32]:
        self.release.wait(60)
        return np.ones(256, dtype=np.float32)

    def close(self) -> None:
        pass


def test_hanging_embedder_degrades_the_search_to_full_text(
    installation: Installation, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus.fill(3)
    run_night(installation, corpus.name)
    corpus.define(retrieval={"deadline_s": 1.5})
    kb = installation.knowledge_base(corpus.name)
    hanging = HangingEmbedder()
    monkeypatch.setattr(embedding_registry, "open_embedder", lambda *_: hanging)
    searcher = Searcher(installation.catalog, installation.vectors, installation.settings, threads=2)
    try:
        for _ in range(4):  # more searches than threads
            result = searcher.search(kb, QUESTION, [])
            assert result.degraded == ("dense",)
            assert "deadline_s" in result.failures["dense"]
            assert result.passages[0].place.uri == "doc1.md"
    finally:
        hanging.release.set()
        searcher.close()


def test_chroma_query_respects_the_timeout_of_the_search(
    installation: Installation, corpus: Corpus, unresponsive_url: str, proxy: Proxy
) -> None:
    corpus.fill(1)
    run_night(installation, corpus.name)
    collection = installation.searcher.snapshot(corpus.name).segments[0].collection
    index = ChromaIndex(proxy.url)
    vector = np.ones(256, dtype=np.float32)
    index.search(collection, vector, 1)
    index._connections = ConnectionPool(unresponsive_url)
    started = time.perf_counter()
    with pytest.raises(ServiceUnavailable, match="Chroma does not respond"):
        index.search(collection, vector, 1, 0.3)
    assert time.perf_counter() - started < 10, "the default timeout of a query is 30 s"


@pytest.mark.parametrize("ping", [True, False])
def test_unresponsive_chroma_times_out(unresponsive_url: str, monkeypatch: pytest.MonkeyPatch, ping: bool) -> None:
    monkeypatch.setattr(client, "_TIMEOUT", httpx.Timeout(1.0))
    index = ChromaIndex(unresponsive_url)
    call: Callable[[], object] = index.ping if ping else index.collections
    _ = index._client
    started = time.perf_counter()
    with pytest.raises(ServiceUnavailable, match="Chroma does not respond"):
        call()
    assert time.perf_counter() - started < 20, "the default timeout of the client is 60 s"


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_proxy_error_is_not_reported_as_index_damage(
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


def test_query_is_retried_if_the_server_closes_a_kept_connection(
    installation: Installation, corpus: Corpus, proxy: Proxy
) -> None:
    name = f"{corpus.name}-00000000-0000-0000-0000-000000000000"
    vector = np.eye(1, 256, dtype=np.float32)
    list(installation.vectors.write(name, [(["a"], vector)]))
    index = ChromaIndex(proxy.url)
    index.search(name, vector[0], 1)
    proxy.closes_connections = True
    assert [hit.chunk_id for hit in index.search(name, vector[0], 1)] == ["a"]
    assert proxy.closed_connections == 1


def test_evaluation_opens_a_slow_model_before_its_first_question(
    installation: Installation, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_slowly(embedding: Embedding, settings: Settings) -> Embedder:
        time.sleep(2.5)
        return open_embedder(embedding, settings)

    monkeypatch.setattr(embedding_registry, "open_embedder", open_slowly)
    corpus.fill(2)
    _one_question(corpus)
    assert run_night(installation, corpus.name).evaluation


def test_evaluation_with_degraded_search_reports_the_cause(installation: Installation, corpus: Corpus) -> None:
    corpus.fill(2)
    run_night(installation, corpus.name)
    _one_question(corpus)
    installation.vectors.drop(installation.searcher.snapshot(corpus.name).segments[0].collection)
    with pytest.raises(ServiceUnavailable, match=r"without dense, so .* dense: Chroma cannot use .*mindset maintain"):
        measure(installation.catalog, installation.knowledge_base(corpus.name), installation.searcher, 1)


def _one_question(corpus: Corpus) -> None:
    quote = "Sentence 0 of section 0 says that the glacier 1 has 100 rooms."
    corpus.golden({"id": "one", "question": QUESTION, "evidence": [{"uri": "doc1.md", "quote": quote}]})


def test_connections_closed_by_postgres_do_not_affect_searches(
    installation: Installation, corpus: Corpus, postgres_url: str
) -> None:
    corpus.fill(2)
    run_night(installation, corpus.name)
    kb = installation.knowledge_base(corpus.name)
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        for _ in range(3):
            # The pool does not check connections that were used a moment ago.
            assert installation.searcher.search(kb, QUESTION, []).degraded == ()
            terminated = admin.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            ).fetchall()
            assert terminated
            assert installation.searcher.search(kb, QUESTION, []).degraded == ()


def test_response_to_a_cancelled_query_is_not_read_by_another_search(
    installation: Installation, corpus: Corpus
) -> None:
    name = f"{corpus.name}-00000000-0000-0000-0000-000000000000"
    vectors = np.eye(2, 256, dtype=np.float32)
    list(installation.vectors.write(name, [(["a", "b"], vectors)]))
    index = installation.vectors
    assert [hit.chunk_id for hit in index.search(name, vectors[0], 1)] == ["a"]
    for _ in range(5):
        cancelled = index.start_search(name, vectors[0], 1, only_if_connected=True)
        other = index.start_search(name, vectors[1], 1)
        assert other
        if cancelled:
            cancelled.cancel()
        assert [hit.chunk_id for hit in other.hits()] == ["b"]
        other.cancel()  # no effect: the response was read
        assert [hit.chunk_id for hit in index.search(name, vectors[1], 1)] == ["b"]


def test_hanging_embedder_does_not_delay_the_start_of_the_api(settings: Settings, corpus: Corpus) -> None:
    corpus.define(embedding={"provider": "nim", "model": "nvidia/nv-embedqa-e5-v5", "dimension": 1024})
    with ProviderServer() as provider:
        provider.fail("/embeddings", always=hang())
        with api_at(settings.model_copy(update={"nim_url": provider.nim_url})) as url:
            assert httpx.get(f"{url}/livez").text == "ok"
            wait_until(lambda: any(request.path.endswith("/embeddings") for request in provider.requests))
            assert not provider.left_early.is_set(), "the embedding request ended before the API answered"
