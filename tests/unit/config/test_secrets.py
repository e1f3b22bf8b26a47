"""Secrets by reference, read from real servers that speak as Vault and AWS Secrets Manager do."""

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
    """Both stores at one address, with the same secret; `fault` is what every request gets."""

    def __init__(self) -> None:
        self.value = "the-first"
        self.fault: Fault | None = None
        self.asked = 0
        self.left_early = threading.Event()
        self.stopping = threading.Event()

    def answer(self, request: Request) -> tuple[Reply, Fault | None]:
        self.asked += 1
        secret = {"pepper": self.value, "empty": ""}
        if request.method == "POST":
            kept = {"prod/mindset": json.dumps(secret), "plain": self.value}
            return secrets_manager.reply(request.body, kept), self.fault
        token = request.headers.get("X-Vault-Token")
        return vault.reply(request.path, token, {"secret/prod/mindset": secret}), self.fault


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    kept = Store()
    http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (ProviderHandler,), {"provider": kept}))
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
    yield kept
    kept.stopping.set()
    http.shutdown()
    http.server_close()
    thread.join()


REMOTE = ["vault:secret/prod/mindset#pepper", "aws-secretsmanager:prod/mindset#pepper"]


def secret(given: str, refresh_s: float = 300.0) -> Secret:
    return Secret("MINDSET_API_KEY_PEPPER", SecretStr(given), refresh_s)


@pytest.mark.parametrize("given", [*REMOTE, "aws-secretsmanager:plain"])
def test_a_reference_stands_for_what_its_store_keeps(given: str, store: Store) -> None:
    assert secret(given).value() == "the-first"


def test_a_reference_to_a_file_stands_for_its_text_without_the_last_line_end(tmp_path: Path) -> None:
    (tmp_path / "pepper").write_text("of-the-file\n")
    assert secret(f"file:{tmp_path / 'pepper'}").value() == "of-the-file"


@pytest.mark.parametrize("given", ["plain-value", "redis://host:6379/0", "postgresql://me:secret@host/db", ""])
def test_anything_else_is_the_value_itself(given: str) -> None:
    assert secret(given).value() == given


@pytest.mark.parametrize("given", REMOTE)
def test_a_store_is_asked_again_only_after_the_interval(given: str, store: Store) -> None:
    lasting, renewed = secret(given), secret(given, refresh_s=0.2)
    assert lasting.value() == renewed.value() == "the-first"
    store.value = "the-second"
    wait_until(lambda: renewed.value() == "the-second")
    assert lasting.value() == "the-first"


@pytest.mark.parametrize("given", REMOTE)
@pytest.mark.parametrize("fault", [garbage(), Fault("cut", clean=False)], ids=lambda fault: fault.kind)
def test_the_last_value_stays_in_use_while_the_store_is_not_well(given: str, fault: Fault, store: Store) -> None:
    known = secret(given, refresh_s=0.05)
    known.value()
    asked = store.asked
    store.fault, store.value = fault, "the-second"
    wait_until(lambda: known.value() and store.asked > asked)
    assert known.value() == "the-first"
    store.fault = None
    wait_until(lambda: known.value() == "the-second")


def test_who_has_a_value_does_not_wait_for_who_asks_a_store_that_hangs(store: Store) -> None:
    known = secret(REMOTE[0], refresh_s=0)
    known.value()
    store.fault = hang()
    with ThreadPoolExecutor(1) as threads:
        asked = store.asked
        asking = threads.submit(known.value)
        wait_until(lambda: store.asked > asked)
        assert known.value() == "the-first"
        assert not asking.done()
        store.stopping.set()
        assert asking.result(10) == "the-first"


@pytest.mark.parametrize(
    "given",
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
def test_what_is_not_there_or_empty_is_said_with_the_settings_name(given: str, store: Store) -> None:
    with pytest.raises(ConfigurationError, match=r"^MINDSET_API_KEY_PEPPER: ") as wrong:
        secret(given).value()
    assert "the-first" not in str(wrong.value)


def test_a_token_that_vault_refuses_is_said(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "s.another")
    with pytest.raises(ConfigurationError, match="VAULT_TOKEN"):
        secret(REMOTE[0]).value()


@pytest.mark.parametrize("given", REMOTE)
def test_a_store_that_was_never_reached_is_an_error_of_ours(given: str, store: Store) -> None:
    store.fault = garbage()
    with pytest.raises(MindsetError, match=r"^MINDSET_API_KEY_PEPPER: "):
        secret(given).value()


@pytest.mark.parametrize("given", REMOTE)
def test_nothing_at_the_stores_address_is_said(given: str, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VAULT_ADDR", "AWS_ENDPOINT_URL_SECRETS_MANAGER"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(ServiceUnavailable, match=r"^MINDSET_API_KEY_PEPPER: "):
        secret(given).value()
