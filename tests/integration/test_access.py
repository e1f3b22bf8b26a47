"""Authentication and authorization over real HTTP: API keys, OIDC tokens, scopes, principals and audiences."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretStr
from typer.testing import CliRunner

from api.app import create_app
from cli.app import app
from mindset.application import Installation
from mindset.auth.api_keys import create_key
from mindset.catalog.api_keys import revoke_key
from mindset.catalog.transactions import scalar
from mindset.config.scopes import Scope
from mindset.config.settings import Settings
from mindset.errors import ConfigurationError, NotAuthenticated
from tests.corpus import Corpus, run_night
from tests.providers.oidc import AUDIENCE, OidcIssuer
from tests.served import api_at

PEPPER = "a pepper of more than thirty-two characters"


@pytest.fixture
def issuer() -> Iterator[OidcIssuer]:
    with OidcIssuer() as opened:
        yield opened


@pytest.fixture
def guarded(settings: Settings, issuer: OidcIssuer) -> Settings:
    return settings.model_copy(
        update={
            "api_access": "required",
            "api_key_pepper": SecretStr(PEPPER),
            "oidc_issuer": issuer.url,
            "oidc_audience": AUDIENCE,
            "rate_limit_rejected": "100000/minute",  # all tests in this file send from one address
        }
    )


@pytest.fixture
def client(guarded: Settings) -> Iterator[httpx.Client]:
    with api_at(guarded) as url, httpx.Client(base_url=url, timeout=20) as opened:
        yield opened


@pytest.fixture
def released(installation: Installation, corpus: Corpus) -> Corpus:
    corpus.fill(2)
    corpus.write("board.md", "---\nacl: [board]\n---\nThe merger with the bakery 1 is secret.")
    run_night(installation, corpus.name)
    return corpus


def make_key(
    installation: Installation, *scopes: Scope, principals: tuple[str, ...] = (), expires_at: datetime | None = None
) -> str:
    with installation.catalog.writing() as connection:
        return create_key(connection, PEPPER, "test", scopes or (Scope.READ,), principals, expires_at)[0]


def bearer(credentials: str) -> dict[str, str]:
    return {"authorization": f"Bearer {credentials}"}


def get(client: httpx.Client, credentials: str) -> httpx.Response:
    return client.get("/v1/knowledge-bases", headers=bearer(credentials))


# Valid credentials


def test_valid_key_and_valid_token_are_accepted(
    client: httpx.Client, installation: Installation, issuer: OidcIssuer, released: Corpus
) -> None:
    assert get(client, make_key(installation)).status_code == 200
    assert get(client, issuer.token()).status_code == 200
    signed = jwt.encode(issuer.claims(aud=["other", AUDIENCE]), issuer.ec, "ES256", headers={"kid": "ec"})
    assert get(client, signed).status_code == 200


def test_principals_of_keys_and_tokens_decide_which_documents_are_returned(
    client: httpx.Client, installation: Installation, issuer: OidcIssuer, released: Corpus
) -> None:
    def returns_merger(credentials: str) -> bool:
        body = {"knowledge_base": released.name, "question": "secret merger", "limit": 50}
        response = client.post("/v1/search", json=body, headers=bearer(credentials))
        assert response.status_code == 200
        return "merger" in response.text

    assert not returns_merger(make_key(installation, Scope.SEARCH))
    assert returns_merger(make_key(installation, Scope.SEARCH, principals=("board",)))
    assert not returns_merger(issuer.token())
    assert returns_merger(issuer.token(groups=["staff", "board"]))
    assert returns_merger(issuer.token(groups="board"))


def test_group_claim_cannot_impersonate_a_user(
    client: httpx.Client, installation: Installation, issuer: OidcIssuer, corpus: Corpus
) -> None:
    corpus.write("eve.md", "---\nacl: ['user:eve']\n---\nThe diary of the bakery is private.")
    run_night(installation, corpus.name)
    body = {"knowledge_base": corpus.name, "question": "diary of the bakery", "limit": 50}
    for token, may_read in ((issuer.token(groups=["user:eve"]), False), (issuer.token(sub="eve"), True)):
        response = client.post("/v1/search", json=body, headers=bearer(token))
        assert ("diary" in json.dumps(response.json()["passages"])) is may_read


def test_knowledge_base_is_hidden_from_callers_outside_its_audience(
    client: httpx.Client, installation: Installation, issuer: OidcIssuer, released: Corpus
) -> None:
    released.define(audience=["board"])
    for path in ("", f"/{released.name}", f"/{released.name}/releases"):
        visible = client.get(f"/v1/knowledge-bases{path}", headers=bearer(issuer.token(groups=["board"])))
        hidden = client.get(f"/v1/knowledge-bases{path}", headers=bearer(issuer.token()))
        assert released.name in visible.text or path.endswith("releases")
        assert visible.status_code == 200
        assert hidden.status_code == (404 if path else 200)
        assert "bakery" not in hidden.text
        assert path or released.name not in hidden.text
    body = {"knowledge_base": released.name, "question": "rooms of the bakery"}
    assert client.post("/v1/search", json=body, headers=bearer(issuer.token())).status_code == 404
    assert client.post("/v1/answers", json=body, headers=bearer(issuer.token())).status_code == 404


def test_roles_grant_scopes(guarded: Settings, issuer: OidcIssuer, released: Corpus) -> None:
    with_roles = guarded.model_copy(update={"oidc_roles": {"staff": (Scope.SEARCH,)}})
    body = {"knowledge_base": released.name, "question": "rooms of the bakery"}
    with api_at(with_roles) as url:
        for groups, status in ((["staff"], 200), (["others"], 403)):
            token = issuer.token(scope=None, groups=groups)
            assert httpx.post(f"{url}/v1/search", json=body, headers=bearer(token)).status_code == status


def test_token_is_accepted_while_the_issuer_is_down_if_its_keys_are_cached(
    client: httpx.Client, issuer: OidcIssuer
) -> None:
    assert get(client, issuer.token()).status_code == 200
    issuer.down = True
    assert get(client, issuer.token()).status_code == 200


def test_unreachable_issuer_without_cached_keys_returns_503(guarded: Settings, issuer: OidcIssuer) -> None:
    issuer.down = True
    with api_at(guarded) as url:
        response = httpx.get(f"{url}/v1/knowledge-bases", headers=bearer(issuer.token()))
    assert response.status_code == 503


def test_unknown_key_ids_do_not_cause_repeated_requests_to_the_issuer(client: httpx.Client, issuer: OidcIssuer) -> None:
    for number in range(20):
        assert get(client, issuer.token(headers={"kid": f"unknown-{number}"})).status_code == 401
    assert issuer.asked <= 2


def test_use_of_a_key_is_recorded_without_its_secret(client: httpx.Client, installation: Installation) -> None:
    key = make_key(installation)
    get(client, key)
    with installation.catalog.reading() as connection:
        assert scalar(connection, "SELECT last_used_at FROM api_key WHERE id = %s", key.split("_")[1]) is not None
        stored = scalar(connection, "SELECT row_to_json(k)::text FROM api_key k WHERE id = %s", key.split("_")[1])
    assert key.split("_")[2] not in stored


def test_command_line_sends_the_key_from_its_settings(
    client: httpx.Client, installation: Installation, released: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINDSET_API_URL", str(client.base_url))
    command = ["search", released.name, "rooms of the bakery"]
    rejected = CliRunner().invoke(app, command)
    assert isinstance(rejected.exception, NotAuthenticated)
    assert "MINDSET_API_KEY" in str(rejected.exception)
    monkeypatch.setenv("MINDSET_API_KEY", make_key(installation, Scope.SEARCH))
    assert "doc1.md" in CliRunner().invoke(app, command).output


# Invalid credentials


def b64(data: Any) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unsigned(issuer: OidcIssuer, algorithm: Any, signature: str = "") -> str:
    return f"{b64({'alg': algorithm, 'kid': 'rsa', 'typ': 'JWT'})}.{b64(issuer.claims())}.{signature}"


def public_pem(issuer: OidcIssuer) -> bytes:
    return issuer.rsa.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def hmac_signed(issuer: OidcIssuer, algorithm: str, secret: bytes | None = None, kid: str = "rsa") -> str:
    """Return a token signed by HMAC with `secret`, by default the issuer's public key."""
    signing_input = f"{b64({'alg': algorithm, 'kid': kid})}.{b64(issuer.claims())}"
    digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}[algorithm]
    key = public_pem(issuer) if secret is None else secret
    return f"{signing_input}.{b64(hmac.new(key, signing_input.encode(), digest).digest())}"


def signed_by_unknown_key(issuer: OidcIssuer, headers: dict[str, Any]) -> str:
    unknown_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    if headers.get("jwk") == "own":
        headers = headers | {"jwk": jwt.algorithms.RSAAlgorithm.to_jwk(unknown_key.public_key(), as_dict=True)}
    return jwt.encode(issuer.claims(), unknown_key, "RS256", headers=headers)


def with_changed_character(token: str, position: int) -> str:
    return token[:position] + ("A" if token[position] != "A" else "B") + token[position + 1 :]


NOW = time.time
INVALID_TOKENS: dict[str, Callable[[OidcIssuer], str]] = {
    **{f"alg {name!r}": partial(unsigned, algorithm=name)
       for name in ("none", "None", "NONE", "nOnE", "", None, 0, [], ["RS256"], {"a": 1}, "none ", "RS256\0")},
    "alg none with a signature": lambda i: unsigned(i, "none", "AAAA"),
    "alg RS256 without a signature": lambda i: unsigned(i, "RS256"),
    **{f"{name} with the public key": partial(hmac_signed, algorithm=name)
       for name in ("HS256", "HS384", "HS512")},
    "HS256 with an empty secret": lambda i: hmac_signed(i, "HS256", b""),
    "HS256 with the key's id": lambda i: hmac_signed(i, "HS256", b"rsa"),
    "RS512, which is not allowed": lambda i: jwt.encode(i.claims(), i.rsa, "RS512", headers={"kid": "rsa"}),
    "PS256, which is not allowed": lambda i: jwt.encode(i.claims(), i.rsa, "PS256", headers={"kid": "rsa"}),
    "ES256 with the id of the RSA key": lambda i: jwt.encode(i.claims(), i.ec, "ES256", headers={"kid": "rsa"}),
    "RS256 with the id of the EC key": lambda i: jwt.encode(i.claims(), i.rsa, "RS256", headers={"kid": "ec"}),
    "another audience": lambda i: i.token(aud="payroll"),
    "no audience": lambda i: i.token(aud=None),
    "an empty list of audiences": lambda i: i.token(aud=[]),
    "an audience that starts with ours": lambda i: i.token(aud=f"{AUDIENCE}-test"),
    "another issuer": lambda i: i.token(iss="https://evil.example"),
    "our issuer with a trailing slash": lambda i: i.token(iss=f"{i.url}/"),
    "no issuer": lambda i: i.token(iss=None),
    "expired": lambda i: i.token(exp=int(NOW()) - 60),
    "expired long ago": lambda i: i.token(exp=0),
    "no expiry": lambda i: i.token(exp=None),
    "an expiry that is not a number": lambda i: i.token(exp="tomorrow"),
    "not yet valid": lambda i: i.token(nbf=int(NOW()) + 3_600),
    "issued in the future": lambda i: i.token(iat=int(NOW()) + 3_600),
    "no subject": lambda i: i.token(sub=None),
    "an empty subject": lambda i: i.token(sub=""),
    "a subject that is a list": lambda i: _signed_by_hand(i, sub=["ada"]),
    "a subject of 5,000 characters": lambda i: i.token(sub="a" * 5_000),
    **{f"kid {kid!r}": partial(signed_by_unknown_key, headers={"kid": kid})
       for kid in ("rsa", "../../dev/null", "rsa' OR '1'='1", "http://evil.example/key", "", "rsa\0", "RSA")},
    "no kid": lambda i: jwt.encode(i.claims(), i.rsa, "RS256"),
    "an embedded key": lambda i: signed_by_unknown_key(i, {"kid": "own", "jwk": "own"}),
    "an embedded key with the id of ours": lambda i: signed_by_unknown_key(i, {"kid": "rsa", "jwk": "own"}),
    "a jku of another server": lambda i: signed_by_unknown_key(i, {"kid": "x", "jku": "http://127.0.0.1:9/keys"}),
    "an x5u of another server": lambda i: signed_by_unknown_key(i, {"kid": "x", "x5u": "http://127.0.0.1:9/cert"}),
    "an unsupported crit header": lambda i: i.token(headers={"crit": ["exp"]}),
    "an unencoded payload": lambda i: i.token(headers={"b64": False, "crit": ["b64"]}),
    "a changed signature": lambda i: with_changed_character(i.token(), -20),
    "changed claims": lambda i: with_changed_character(i.token(), len(i.token()) // 2),
    "a truncated signature": lambda i: i.token()[:-100],
    "no dots": lambda i: i.token().replace(".", ""),
    "two concatenated tokens": lambda i: f"{i.token()}.{i.token()}",
    "padding": lambda i: f"{i.token()}====x",
    "claims that are a list": lambda i: f"{b64({'alg': 'RS256', 'kid': 'rsa'})}.{b64([])}.AAAA",
    "claims that are not JSON": lambda i: f"{b64({'alg': 'RS256', 'kid': 'rsa'})}.{b64(b'ada')}.AAAA",
    "a header that is not JSON": lambda i: f"{b64(b'x')}.{b64(i.claims())}.AAAA",
    "30,000 extra characters": lambda i: f"{i.token()}{'A' * 30_000}",
    "an encrypted token": lambda i: f"{b64({'alg': 'RSA-OAEP', 'enc': 'A128GCM', 'kid': 'rsa'})}.a.b.c.d",
    "a symmetric key of the issuer": lambda i: hmac_signed(i, "HS256", b"shared", kid="oct"),
    "an encryption key of the issuer": lambda i: jwt.encode(i.claims(), i.rsa, "RS256", headers={"kid": "enc"}),
    "an empty token": lambda i: "",
    "a plain word": lambda i: "admin",
}  # fmt: skip


def _signed_by_hand(issuer: OidcIssuer, **claims: Any) -> str:
    """Return a correctly signed token with claims that PyJWT refuses to write."""
    signing_input = f"{b64({'alg': 'RS256', 'kid': 'rsa'})}.{b64(issuer.claims(**claims))}"
    algorithm = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256)
    return f"{signing_input}.{b64(algorithm.sign(signing_input.encode(), issuer.rsa))}"


def test_every_invalid_token_is_rejected(client: httpx.Client, issuer: OidcIssuer) -> None:
    public_key = jwt.algorithms.RSAAlgorithm.to_jwk(issuer.rsa.public_key(), as_dict=True)
    issuer.extra_keys = [{"kty": "oct", "kid": "oct", "k": b64(b"shared"), "alg": "HS256"},
                         public_key | {"kid": "enc", "use": "enc"}]  # fmt: skip
    assert len(INVALID_TOKENS) >= 50
    assert get(client, issuer.token()).status_code == 200
    accepted = {
        name: code for name, build in INVALID_TOKENS.items() if (code := _status_code(client, build(issuer))) != 401
    }
    assert accepted == {}


def _status_code(client: httpx.Client, credentials: str) -> int:
    header = b"Bearer " + credentials.encode()
    try:
        return client.get("/v1/knowledge-bases", headers=[(b"authorization", header)]).status_code
    except httpx.LocalProtocolError:
        return 401  # the client refuses to send this header


INVALID_HEADERS: dict[str, Callable[[str], list[tuple[bytes, bytes]]]] = {
    "none": lambda key: [],
    "no scheme": lambda key: [(b"authorization", key.encode())],
    "Basic": lambda key: [(b"authorization", b"Basic " + base64.b64encode(key.encode()))],
    "two headers": lambda key: [(b"authorization", b"Bearer " + key.encode())] * 2,
    "two credentials in one header": lambda key: [(b"authorization", f"Bearer {key}, Bearer {key}".encode())],
    "two spaces": lambda key: [(b"authorization", b"Bearer  " + key.encode())],
    "a cookie": lambda key: [(b"cookie", b"authorization=Bearer " + key.encode())],
    "another header": lambda key: [(b"x-api-key", key.encode()), (b"x-forwarded-authorization", key.encode())],
    "not ASCII": lambda key: [(b"authorization", b"Bearer " + key.encode() + b"\xc3\xa9")],
}


@pytest.mark.parametrize("headers", INVALID_HEADERS)
def test_only_one_bearer_header_is_accepted(client: httpx.Client, installation: Installation, headers: str) -> None:
    response = client.get("/v1/knowledge-bases", headers=INVALID_HEADERS[headers](make_key(installation)))
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert response.json()["type"] == "urn:mindset:NotAuthenticated"


def test_credentials_in_the_query_string_are_ignored(client: httpx.Client, installation: Installation) -> None:
    key = make_key(installation)
    for name in ("access_token", "api_key", "authorization", "token"):
        assert client.get("/v1/knowledge-bases", params={name: key}).status_code == 401


def test_every_invalid_key_is_rejected(client: httpx.Client, installation: Installation) -> None:
    key, other = make_key(installation), make_key(installation)
    prefix, id_, secret = key.split("_")
    invalid_keys = {
        "the secret of another key": f"{prefix}_{id_}_{other.split('_')[2]}",
        "the id of another key": f"{prefix}_{other.split('_')[1]}_{secret}",
        "no secret": f"{prefix}_{id_}_",
        "a truncated secret": key[:-10],
        "a changed secret": with_changed_character(key, -1),
        "a longer secret": f"{key}A",
        "an unknown id": f"{prefix}_{'0' * 12}_{secret}",
        "SQL as the id": f"{prefix}_' OR 1=1 --_{secret}",
        "a secret in the other case": f"{prefix}_{id_}_{secret.swapcase()}",
        "another prefix": f"px_{id_}_{secret}",
        "expired": make_key(installation, expires_at=datetime.now(UTC) - timedelta(seconds=1)),
        "the stored hash": f"{prefix}_{id_}_{hmac.new(PEPPER.encode(), secret.encode(), 'sha256').hexdigest()[:43]}",
    }
    accepted = {
        name: code for name, invalid_key in invalid_keys.items() if (code := _status_code(client, invalid_key)) != 401
    }
    assert accepted == {}
    assert get(client, key).status_code == 200


def test_revoked_key_is_rejected_immediately(client: httpx.Client, installation: Installation) -> None:
    key = make_key(installation)
    assert get(client, key).status_code == 200
    with installation.catalog.writing() as connection:
        assert revoke_key(connection, key.split("_")[1])
    assert get(client, key).status_code == 401


def test_keys_are_rejected_after_the_pepper_changes(guarded: Settings, installation: Installation) -> None:
    key = make_key(installation)
    with api_at(guarded.model_copy(update={"api_key_pepper": SecretStr(PEPPER[::-1])})) as url:
        assert httpx.get(f"{url}/v1/knowledge-bases", headers=bearer(key)).status_code == 401


def test_credential_of_an_unconfigured_kind_is_rejected(
    guarded: Settings, installation: Installation, issuer: OidcIssuer
) -> None:
    with api_at(guarded.model_copy(update={"oidc_issuer": None})) as url:
        assert httpx.get(f"{url}/v1/knowledge-bases", headers=bearer(issuer.token())).status_code == 401
    with api_at(guarded.model_copy(update={"api_key_pepper": None})) as url:
        assert httpx.get(f"{url}/v1/knowledge-bases", headers=bearer(make_key(installation))).status_code == 401


PUBLIC_PATHS = {"/livez", "/readyz", "/metrics", "/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"}


def test_every_route_rejects_missing_credentials_and_missing_scopes(
    client: httpx.Client, installation: Installation
) -> None:
    key = make_key(installation, Scope.FEEDBACK)
    paths = client.get("/openapi.json").json()["paths"]
    accepted = []
    for path, operations in paths.items():
        for method in operations:
            if path in PUBLIC_PATHS:
                continue
            concrete_path = path.replace("{", "").replace("}", "")
            accepted += [
                (method, path, code)
                for headers, code in (({}, 401), (bearer(key), 403))
                if client.request(method, concrete_path, headers=headers, json={}).status_code not in (code, 422, 400)
                and (code == 401 or not path.startswith("/v1/feedback"))
            ]
    assert accepted == []


def test_scope_is_checked_before_the_request_is_executed(client: httpx.Client, installation: Installation) -> None:
    response = client.post(
        "/v1/search", json={"knowledge_base": "x", "question": "y"}, headers=bearer(make_key(installation))
    )
    assert response.status_code == 403
    assert "`search`" in response.json()["detail"]


# Invalid settings


@pytest.mark.parametrize(
    ("invalid", "setting"),
    [
        ({"api_host": "0.0.0.0"}, "MINDSET_API_ACCESS=required"),
        ({"api_host": "api.example.com"}, "MINDSET_API_HOST"),
        ({"api_access": "required"}, "MINDSET_API_KEY_PEPPER"),
        ({"api_access": "required", "oidc_issuer": "https://login.example.com"}, "MINDSET_OIDC_AUDIENCE"),
    ],
)
def test_api_with_unsafe_or_incomplete_access_settings_does_not_start(
    settings: Settings, invalid: dict[str, str], setting: str
) -> None:
    with pytest.raises(ConfigurationError, match=setting):
        create_app(settings.model_copy(update=invalid))
