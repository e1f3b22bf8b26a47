"""Tests of the verification of tokens, and of a failing issuer."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from mindset.auth.oidc import IssuerSettings, TokenVerifier
from mindset.config.scopes import Scope
from mindset.errors import NotAuthenticated, ServiceUnavailable

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PUBLIC = {**RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "kid": "1", "use": "sig", "alg": "RS256"}
URL = "https://issuer.example.com"


class KeyServer:
    """State of the server of the issuer's keys. If it `hangs`, it responds only after `proceed`."""

    def __init__(self) -> None:
        self.body: Any = {"keys": [PUBLIC]}
        self.hangs = False
        self.requested = threading.Event()
        self.proceed = threading.Event()
        self.url = ""


@pytest.fixture
def keys() -> Iterator[KeyServer]:
    server = KeyServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if server.hangs:
                server.requested.set()
                server.proceed.wait(20)
            raw = json.dumps(server.body).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Write no access log."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{http.server_address[1]}"
    yield server
    server.proceed.set()
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture
def tokens(keys: KeyServer) -> Iterator[TokenVerifier]:
    verifier = TokenVerifier(IssuerSettings(URL, "us", keys.url, roles={"staff": [Scope.RELEASE]}))
    yield verifier
    verifier.close()


def token(**claims: Any) -> str:
    defaults = {"iss": URL, "aud": "us", "sub": "ada", "exp": int(time.time()) + 600}
    return jwt.encode(defaults | claims, KEY, "RS256", headers={"kid": "1"})


def expire_keys(tokens: TokenVerifier) -> None:
    """Pretend that the keys were fetched eleven minutes ago."""
    tokens._fetched_at -= 660
    tokens._tried_at -= 660


@pytest.mark.parametrize(
    "groups", ["guests of staff", "guests staff", " staff", ["guests staff"], {"staff": 1}, [["staff"]]]
)
def test_group_name_is_not_split_into_words(tokens: TokenVerifier, groups: Any) -> None:
    caller = tokens.caller(token(groups=groups))
    assert "staff" not in caller.principals
    assert Scope.RELEASE not in caller.scopes


@pytest.mark.parametrize("groups", ["staff", ["staff"], ["staff", 7, None, "x" * 201, "nul\0", ""]])
def test_invalid_group_names_are_ignored(tokens: TokenVerifier, groups: Any) -> None:
    caller = tokens.caller(token(groups=groups))
    assert caller.principals == ("*", "staff", "user:ada")
    assert caller.scopes == {Scope.RELEASE}


@pytest.mark.parametrize("scope", ["openid ask search", ["ask", "search", "profile"]])
def test_scopes_are_words_or_a_list_and_unknown_ones_are_ignored(tokens: TokenVerifier, scope: Any) -> None:
    assert tokens.caller(token(scope=scope)).scopes == {Scope.ASK, Scope.SEARCH}


@pytest.mark.parametrize("subject", ["", "nul\0", "x" * 201, "two\nlines"])
def test_invalid_subject_is_rejected(tokens: TokenVerifier, subject: str) -> None:
    with pytest.raises(NotAuthenticated, match="subject"):
        tokens.caller(token(sub=subject))


@pytest.mark.parametrize(
    "body", [{"keys": []}, {"keys": "x"}, {"keys": [{"kty": "oct", "kid": "1", "k": "AA"}]}, [], {}]
)
def test_invalid_key_set_does_not_replace_the_cached_keys(tokens: TokenVerifier, keys: KeyServer, body: Any) -> None:
    tokens.caller(token())
    expire_keys(tokens)
    keys.body = body
    assert tokens.caller(token()).name == "oidc:ada"


def test_without_any_key_the_issuer_is_unavailable(tokens: TokenVerifier, keys: KeyServer) -> None:
    keys.body = {"keys": []}
    for _ in range(3):
        with pytest.raises(ServiceUnavailable, match="MINDSET_OIDC_ISSUER"):
            tokens.caller(token())


def test_caller_with_cached_key_does_not_wait_for_the_fetch_lock(tokens: TokenVerifier) -> None:
    tokens.caller(token())
    expire_keys(tokens)
    with tokens._fetch_lock, ThreadPoolExecutor(1) as threads:
        assert threads.submit(tokens.caller, token()).result(10).name == "oidc:ada"


def test_caller_with_cached_key_does_not_wait_for_a_hanging_issuer(tokens: TokenVerifier, keys: KeyServer) -> None:
    tokens.caller(token())
    expire_keys(tokens)
    keys.hangs = True
    fetching = threading.Thread(target=tokens.caller, args=(token(),))
    fetching.start()
    assert keys.requested.wait(5)
    assert tokens.caller(token()).name == "oidc:ada"
    assert fetching.is_alive()
    keys.proceed.set()
    fetching.join(10)
    assert not fetching.is_alive()
