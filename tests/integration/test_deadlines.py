"""A search ends at its deadline, whichever of its steps is slow, and says which one it left out.

Slow means here: it would take minutes. The tests allow much more time than the deadline, so that they pass on any machine."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from urllib.parse import urlsplit

import psycopg
import pytest

from mindset.application import Installation
from mindset.catalog.pool import Catalog
from mindset.config.build_options import Embedding
from mindset.config.settings import Settings
from mindset.embedding import registry as embedding_registry
from mindset.embedding.protocol import Embedder
from mindset.embedding.registry import open_embedder
from mindset.errors import ServiceUnavailable
from mindset.retrieval.search import Searcher
from mindset.retrieval.search_request import SearchResult
from tests.corpus import Corpus, run_night
from tests.providers import ProviderServer, hang
from tests.waiting import wait_until

QUESTION = "How many rooms has the glacier 1?"
DEADLINE_S, ALLOWED_S = 1.5, 30.0


class FrozenProxy:
    """A proxy in front of a TCP server that stops to forward the server's replies while it is frozen."""

    def __init__(self, host: str, port: int) -> None:
        self.target, self.thawed = (host, port), threading.Event()
        self.thawed.set()
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.thawed.set()
        self.listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listening.accept()
            except OSError:
                return
            server = socket.create_connection(self.target)
            for source, sink, waits in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._forward, args=(source, sink, waits), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket, waits: bool) -> None:
        try:
            while data := source.recv(65_536):
                if waits:
                    self.thawed.wait()
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for each in (source, sink):
                with closing(each):
                    pass


@pytest.fixture
def postgres_proxy(postgres_url: str) -> Iterator[FrozenProxy]:
    """A proxy in front of Postgres."""
    address = urlsplit(postgres_url)
    assert address.hostname
    assert address.port
    with closing(FrozenProxy(address.hostname, address.port)) as proxy:
        yield proxy


def through(proxy: FrozenProxy, postgres_url: str) -> str:
    address = urlsplit(postgres_url)
    return postgres_url.replace(f"{address.hostname}:{address.port}", f"127.0.0.1:{proxy.port}")


@pytest.fixture
def built(installation: Installation, corpus: Corpus) -> Corpus:
    """A knowledge base with a live release and a short deadline."""
    corpus.fill(3)
    run_night(installation, corpus.name)
    corpus.define(retrieval={"deadline_s": DEADLINE_S})
    return corpus


@contextmanager
def in_time() -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < ALLOWED_S


def search(installation: Installation, searcher: Searcher, corpus: Corpus) -> SearchResult:
    with in_time():
        return searcher.search(installation.knowledge_base(corpus.name), QUESTION, [])


@pytest.fixture
def cold(installation: Installation) -> Iterator[Searcher]:
    """A searcher that has loaded nothing yet."""
    with closing(Searcher(installation.catalog, installation.vectors, installation.settings)) as searcher:
        yield searcher


def test_wait_for_a_connection_is_part_of_the_deadline(
    installation: Installation, built: Corpus, settings: Settings, postgres_url: str
) -> None:
    with Catalog(postgres_url, 1) as catalog, closing(Searcher(catalog, installation.vectors, settings)) as searcher:
        assert not search(installation, searcher, built).degraded
        with (
            catalog.writing(),  # the only connection
            pytest.raises(ServiceUnavailable, match="provided no connection in time"),
        ):
            search(installation, searcher, built)
        assert not search(installation, searcher, built).degraded


@pytest.mark.parametrize("warm", [True, False])
def test_server_that_stops_replying_does_not_hold_a_search(
    installation: Installation,
    built: Corpus,
    settings: Settings,
    postgres_url: str,
    postgres_proxy: FrozenProxy,
    warm: bool,
) -> None:
    url = through(postgres_proxy, postgres_url)
    with Catalog(url, 2) as catalog, closing(Searcher(catalog, installation.vectors, settings)) as searcher:
        if warm:
            assert not search(installation, searcher, built).degraded
        postgres_proxy.thawed.clear()
        with pytest.raises(ServiceUnavailable, match="Postgres"):
            search(installation, searcher, built)
        postgres_proxy.thawed.set()
        wait_until(lambda: succeeds(lambda: search(installation, searcher, built)), 60, "The search did not recover")


def test_snapshot_that_was_read_does_not_give_later_steps_more_time(
    installation: Installation, built: Corpus, settings: Settings, postgres_url: str, postgres_proxy: FrozenProxy
) -> None:
    url = through(postgres_proxy, postgres_url)
    with Catalog(url, 2) as catalog, closing(Searcher(catalog, installation.vectors, settings)) as searcher:
        search(installation, searcher, built)
        snapshot = searcher.snapshot(built.name)
        postgres_proxy.thawed.clear()
        kb = installation.knowledge_base(built.name)
        with in_time(), pytest.raises(ServiceUnavailable, match="Postgres"):
            searcher.search(kb, QUESTION, ["new caller"], snapshot=snapshot)


def test_words_that_are_still_being_loaded_leave_dense_search(
    installation: Installation, built: Corpus, cold: Searcher, postgres_url: str
) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute("LOCK TABLE postings IN ACCESS EXCLUSIVE MODE")
        result = search(installation, cold, built)
        assert (result.degraded, result.passages[0].place.uri) == (("lexical",), "doc1.md")
        assert "deadline_s" in result.failures["lexical"]
    wait_until(lambda: not search(installation, cold, built).degraded, 60, "The words were never loaded")


def test_model_that_is_being_loaded_blocks_no_other_model(
    installation: Installation, built: Corpus, cold: Searcher, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    release, loading = threading.Event(), threading.Event()

    def open_slowly(embedding: Embedding, settings: Settings) -> Embedder:
        if embedding.provider == "nim":
            loading.set()
            release.wait(120)
        return open_embedder(embedding, settings)

    monkeypatch.setattr(embedding_registry, "open_embedder", open_slowly)
    slow = embedding_registry.model_id(Embedding.model_validate({"provider": "nim"}))
    thread = threading.Thread(target=cold.embedder, args=(slow,))
    thread.start()
    try:
        assert loading.wait(60)
        assert not search(installation, cold, built).degraded
    finally:
        release.set()
        thread.join()


def test_request_to_a_remote_model_ends_with_the_search(
    installation: Installation, corpus: Corpus, settings: Settings
) -> None:
    corpus.fill(2)
    corpus.define(
        embedding={"provider": "nim", "model": "nvidia/nv-embedqa-e5-v5", "dimension": 1024},
        retrieval={"deadline_s": DEADLINE_S},
    )
    with ProviderServer() as provider:
        remote = settings.model_copy(update={"nim_url": provider.nim_url})
        remote_installation = Installation(remote, installation.catalog)
        run_night(remote_installation, corpus.name)
        with closing(Searcher(installation.catalog, installation.vectors, remote, threads=1)) as searcher:
            assert not search(installation, searcher, corpus).degraded
            provider.fail("/v1/embeddings", always=hang())
            assert search(installation, searcher, corpus).degraded == ("dense",)
            provider.heal()
            # There is only one thread: it is free again because the request was given up.
            wait_until(lambda: not search(installation, searcher, corpus).degraded, 30, "The request was not given up")
        remote_installation.close()


def succeeds(work: Callable[[], object]) -> bool:
    try:
        work()
    except ServiceUnavailable:
        return False
    return True
