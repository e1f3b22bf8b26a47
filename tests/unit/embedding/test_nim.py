"""Tests of the NIM embedder when the NIM fails."""

from __future__ import annotations

import time
from contextlib import closing

import pytest
from pydantic import SecretStr

from mindset.embedding.nim import NimEmbedder
from mindset.errors import ConfigurationError, DimensionMismatch, ProviderRejected, ProviderUnavailable
from tests.providers import Fault, ProviderServer, cut, drip, garbage, hang, queued, status

MODEL = "nvidia/nv-embedqa-e5-v5"


def _open(provider: ProviderServer, deadline_s: float = 5.0, model: str = MODEL, dimension: int = 1024) -> NimEmbedder:
    embedder = NimEmbedder(provider.nim_url, model, dimension, SecretStr("nvapi-secret"), deadline_s=deadline_s)
    return provider.clients.enter_context(closing(embedder))


def test_request_names_the_input_type_and_forbids_truncation(provider: ProviderServer) -> None:
    embedder = _open(provider)
    embedder.embed_passages(["a"])
    embedder.embed_query("b")
    passage, query = (request.body for request in provider.requests)
    assert (passage["input_type"], query["input_type"]) == ("passage", "query")
    assert passage["truncate"] == "NONE"
    assert "dimensions" not in passage
    assert provider.requests[0].headers["Authorization"] == "Bearer nvapi-secret"


@pytest.mark.parametrize(
    "fault", [status(429, retry_after=0.05), status(429), status(500), status(503), garbage(), queued(2)], ids=repr
)
def test_transient_fault_is_retried(provider: ProviderServer, fault: Fault) -> None:
    provider.fail("/embeddings", fault)
    assert _open(provider).embed_passages(["a", "b"]).shape == (2, 1024)


def test_retry_after_is_respected(provider: ProviderServer) -> None:
    provider.fail("/embeddings", status(429, retry_after=0.3))
    started = time.monotonic()
    _open(provider).embed_query("a")
    assert time.monotonic() - started >= 0.3


def test_no_wait_for_a_retry_after_beyond_the_deadline(provider: ProviderServer) -> None:
    provider.fail("/embeddings", always=status(429, retry_after=60))
    started = time.monotonic()
    with pytest.raises(ProviderUnavailable, match="429") as caught:
        _open(provider, deadline_s=30.0).embed_query("a")
    assert caught.value.retry_after_s == 60
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("fault", [status(500), hang(), garbage(), cut(0), drip(0.01)], ids=lambda fault: fault.kind)
def test_persistent_fault_is_unavailable_at_the_deadline(provider: ProviderServer, fault: Fault) -> None:
    provider.fail("/embeddings", always=fault)
    started = time.monotonic()
    with pytest.raises(ProviderUnavailable, match=MODEL):
        _open(provider, deadline_s=0.3).embed_passages(["a"])
    assert time.monotonic() - started < 4


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (401, "MINDSET_NIM_API_KEY"),
        (403, "MINDSET_NIM_API_KEY"),
        (404, "name"),
        (400, "chunks"),
        (302, "MINDSET_NIM_URL"),
    ],
)
def test_rejection_is_not_retried_and_names_the_remedy(provider: ProviderServer, code: int, remedy: str) -> None:
    provider.fail("/embeddings", always=status(code))
    with pytest.raises(ProviderRejected) as caught:
        _open(provider).embed_passages(["a"])
    message = str(caught.value)
    assert MODEL in message
    assert str(code) in message
    assert "simulated failure" in message
    assert remedy in message
    assert "secret" not in message
    assert len(provider.requests) == 1


def test_text_over_the_models_limit_is_rejected(provider: ProviderServer) -> None:
    with pytest.raises(ProviderRejected, match=r"8192.*chunks smaller"):
        _open(provider).embed_passages(["word " * 10_000])


def test_dimension_mismatch_names_both_dimensions(provider: ProviderServer) -> None:
    with pytest.raises(DimensionMismatch, match=rf"{MODEL}.* 1024 .* 768 "):
        _open(provider, dimension=768).embed_passages(["a"])


def test_one_failing_batch_fails_the_call(provider: ProviderServer) -> None:
    provider.fail("/embeddings", status(400))
    with pytest.raises(ProviderRejected):
        _open(provider).embed_passages(["a"] * 500)


def test_unreachable_server_is_unavailable() -> None:
    with (
        closing(NimEmbedder("http://127.0.0.1:9/v1", MODEL, 1024, deadline_s=0.2)) as embedder,
        pytest.raises(ProviderUnavailable, match="MINDSET_NIM_URL"),
    ):
        embedder.embed_query("a")


@pytest.mark.parametrize("url", ["nim:8000/v1", "ftp://nim/v1", "", "http://"])
def test_invalid_url_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError, match="MINDSET_NIM_URL"):
        NimEmbedder(url, MODEL, 1024)


def test_invalid_key_is_a_configuration_error_that_does_not_quote_it(provider: ProviderServer) -> None:
    with pytest.raises(ConfigurationError, match="MINDSET_NIM_API_KEY") as caught:
        NimEmbedder(provider.nim_url, MODEL, 1024, SecretStr("se\ncret"))
    assert "cret" not in str(caught.value)
