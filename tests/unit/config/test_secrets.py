"""Tests of secrets by reference, read from fake servers of Vault and AWS Secrets Manager."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from pydantic import SecretStr

from mindset.config.secrets import Secret
from mindset.errors import ConfigurationError, MindsetError, ServiceUnavailable
from tests.providers import secrets_manager, vault
from tests.providers.faults import Fault, garbage, hang
from tests.providers.handler import ProviderHandler, Request
from tests.providers.reply import Reply
from tests.waiting import wait_until


class Store:
    """A server of both stores with the same secret. `fault` applies to every request."""

    def __init__(self) -> None:
        self.value = "the-first"
        self.fault: Fault | None = None
        self.requests = 0
        self.left_early = threading.Event()
        self.stopping = threading.Event()

    def answer(self, request: Request) -> tuple[Reply, Fault | None]:
        self.requests += 1
        secret = {"pepper": self.value, "empty": ""}
        if request.method == "POST":
            stored = {"prod/mindset": json.dumps(secret), "plain": self.value}
            return secrets_manager.reply(request.body, stored), self.fault
        token = request.headers.get("X-Vault-Token")
        return vault.reply(request.path, token, {"secret/prod/mindset": secret}), self.fault


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    server = Store()
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (ProviderHandler,), {"provider": server}))
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{http.server_address[1]}"
    for name, value in {
        "VAULT_ADDR": url,
        "VAULT_TOKEN": vault.TOKEN,
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": url,
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    yield server
    server.stopping.set()
    http.shutdown()
    http.server_close()
    thread.join()


REMOTE = ["vault:secret/prod/mindset#pepper", "aws-secretsmanager:prod/mindset#pepper"]


def secret(reference: str, refresh_s: float = 300.0) -> Secret:
    return Secret("MINDSET_API_KEY_PEPPER", SecretStr(reference), refresh_s)


@pytest.mark.parametrize("reference", [*REMOTE, "aws-secretsmanager:plain"])
def test_reference_is_resolved_by_its_store(reference: str, store: Store) -> None:
    assert secret(reference).value() == "the-first"


def test_file_reference_is_its_text_without_the_final_newline(tmp_path: Path) -> None:
    (tmp_path / "pepper").write_text("of-the-file\n")
    assert secret(f"file:{tmp_path / 'pepper'}").value() == "of-the-file"


@pytest.mark.parametrize("reference", ["plain-value", "redis://host:6379/0", "postgresql://me:secret@host/db", ""])
def test_other_text_is_the_value_itself(reference: str) -> None:
    assert secret(reference).value() == reference


@pytest.mark.parametrize("reference", REMOTE)
def test_secret_is_refreshed_after_the_interval(reference: str, store: Store) -> None:
    cached, refreshed = secret(reference), secret(reference, refresh_s=0.2)
    assert cached.value() == refreshed.value() == "the-first"
    store.value = "the-second"
    wait_until(lambda: refreshed.value() == "the-second")
    assert cached.value() == "the-first"


@pytest.mark.parametrize("reference", REMOTE)
@pytest.mark.parametrize("fault", [garbage(), Fault("cut", clean=False)], ids=lambda fault: fault.kind)
def test_last_value_is_used_while_the_store_fails(reference: str, fault: Fault, store: Store) -> None:
    resolved = secret(reference, refresh_s=0.05)
    resolved.value()
    requests = store.requests
    store.fault, store.value = fault, "the-second"
    wait_until(lambda: resolved.value() and store.requests > requests)
    assert resolved.value() == "the-first"
    store.fault = None
    wait_until(lambda: resolved.value() == "the-second")


def test_caller_with_a_value_does_not_wait_for_a_hanging_store(store: Store) -> None:
    resolved = secret(REMOTE[0], refresh_s=0)
    resolved.value()
    store.fault = hang()
    with ThreadPoolExecutor(1) as threads:
        requests = store.requests
        refresh = threads.submit(resolved.value)
        wait_until(lambda: store.requests > requests)
        assert resolved.value() == "the-first"
        assert not refresh.done()
        store.stopping.set()
        assert refresh.result(10) == "the-first"


@pytest.mark.parametrize(
    "reference",
    [
        "vault:secret/prod/mindset#nothing",
        "vault:secret/prod/elsewhere#pepper",
        "vault:secret/prod/mindset",
        "vault:secret/prod/mindset#empty",
        "aws-secretsmanager:nothing",
        "aws-secretsmanager:prod/mindset#nothing",
        "aws-secretsmanager:prod/mindset#empty",
        "aws-secretsmanager:plain#pepper",
        "file:/nowhere/at/all",
    ],
)
def test_missing_or_empty_secret_is_reported_with_the_name_of_the_setting(reference: str, store: Store) -> None:
    with pytest.raises(ConfigurationError, match=r"^MINDSET_API_KEY_PEPPER: ") as caught:
        secret(reference).value()
    assert "the-first" not in str(caught.value)


def test_rejected_vault_token_is_reported(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "s.another")
    with pytest.raises(ConfigurationError, match="VAULT_TOKEN"):
        secret(REMOTE[0]).value()


@pytest.mark.parametrize("reference", REMOTE)
def test_invalid_response_without_a_cached_value_is_reported(reference: str, store: Store) -> None:
    store.fault = garbage()
    with pytest.raises(MindsetError, match=r"^MINDSET_API_KEY_PEPPER: "):
        secret(reference).value()


@pytest.mark.parametrize("reference", REMOTE)
def test_unreachable_store_is_reported(reference: str, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VAULT_ADDR", "AWS_ENDPOINT_URL_SECRETS_MANAGER"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(ServiceUnavailable, match=r"^MINDSET_API_KEY_PEPPER: "):
        secret(reference).value()
