"""What claims mean, and an issuer that is not well."""

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


class Keys:
    """What the address of the keys answers, and whether it does before `go_on`."""

    def __init__(self) -> None:
        self.body: Any = {"keys": [PUBLIC]}
        self.hangs = False
        self.asked = threading.Event()
        self.go_on = threading.Event()
        self.url = ""


@pytest.fixture
def keys() -> Iterator[Keys]:
    served = Keys()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if served.hangs:
                served.asked.set()
                served.go_on.wait(20)
            raw = json.dumps(served.body).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Tests need no access log."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    served.url = f"http://127.0.0.1:{http.server_address[1]}"
    yield served
    served.go_on.set()
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture
def tokens(keys: Keys) -> Iterator[TokenVerifier]:
    opened = TokenVerifier(IssuerSettings(URL, "us", keys.url, roles={"staff": [Scope.RELEASE]}))
    yield opened
    opened.close()


def token(**claims: Any) -> str:
    usual = {"iss": URL, "aud": "us", "sub": "ada", "exp": int(time.time()) + 600}
    return jwt.encode(usual | claims, KEY, "RS256", headers={"kid": "1"})


def outdate(tokens: TokenVerifier) -> None:
    """As if the keys had been read eleven minutes ago."""
    tokens._fetched_at -= 660
    tokens._tried_at -= 660


@pytest.mark.parametrize(
    "groups", ["guests of staff", "guests staff", " staff", ["guests staff"], {"staff": 1}, [["staff"]]]
)
def test_a_group_is_one_name_whatever_words_it_is_made_of(tokens: TokenVerifier, groups: Any) -> None:
    caller = tokens.caller(token(groups=groups))
    assert "staff" not in caller.principals
    assert Scope.RELEASE not in caller.scopes


@pytest.mark.parametrize("groups", ["staff", ["staff"], ["staff", 7, None, "x" * 201, "nul\0", ""]])
def test_names_among_what_is_no_name_count(tokens: TokenVerifier, groups: Any) -> None:
    caller = tokens.caller(token(groups=groups))
    assert caller.principals == ("*", "staff", "user:ada")
    assert caller.scopes == {Scope.RELEASE}


@pytest.mark.parametrize("scope", ["openid ask search", ["ask", "search", "profile"]])
def test_scopes_are_words_or_a_list_and_unknown_ones_mean_nothing(tokens: TokenVerifier, scope: Any) -> None:
    assert tokens.caller(token(scope=scope)).scopes == {Scope.ASK, Scope.SEARCH}


@pytest.mark.parametrize("subject", ["", "nul\0", "x" * 201, "two\nlines"])
def test_a_subject_that_logs_or_postgres_cannot_take_is_refused(tokens: TokenVerifier, subject: str) -> None:
    with pytest.raises(NotAuthenticated, match="subject"):
        tokens.caller(token(sub=subject))


@pytest.mark.parametrize(
    "body", [{"keys": []}, {"keys": "x"}, {"keys": [{"kty": "oct", "kid": "1", "k": "AA"}]}, [], {}]
)
def test_an_issuer_that_answers_nonsense_leaves_the_keys_that_are_known(
    tokens: TokenVerifier, keys: Keys, body: Any
) -> None:
    tokens.caller(token())
    outdate(tokens)
    keys.body = body
    assert tokens.caller(token()).name == "oidc:ada"


def test_without_any_key_it_is_the_issuer_that_is_not_well(tokens: TokenVerifier, keys: Keys) -> None:
    keys.body = {"keys": []}
    for _ in range(3):
        with pytest.raises(ServiceUnavailable, match="MINDSET_OIDC_ISSUER"):
            tokens.caller(token())


def test_who_came_at_the_same_moment_as_who_asks_does_not_wait_either(tokens: TokenVerifier) -> None:
    tokens.caller(token())
    outdate(tokens)
    with tokens._fetch_lock, ThreadPoolExecutor(1) as threads:
        assert threads.submit(tokens.caller, token()).result(10).name == "oidc:ada"


def test_who_has_a_known_key_does_not_wait_for_who_asks_an_issuer_that_hangs(tokens: TokenVerifier, keys: Keys) -> None:
    tokens.caller(token())
    outdate(tokens)
    keys.hangs = True
    asking = threading.Thread(target=tokens.caller, args=(token(),))
    asking.start()
    assert keys.asked.wait(5)
    assert tokens.caller(token()).name == "oidc:ada"
    assert asking.is_alive()
    keys.go_on.set()
    asking.join(10)
    assert not asking.is_alive()
