"""Who gets in, who does not, and what each may do and see: over real HTTP, with a real issuer's keys."""

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
            "rate_limit_rejected": "100000/minute",  # all of these tests have one address
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
    installation: Installation, *scopes: Scope, principals: tuple[str, ...] = (), ends: datetime | None = None
) -> str:
    with installation.catalog.writing() as connection:
        return create_key(connection, PEPPER, "test", scopes or (Scope.READ,), principals, ends)[0]


def bearer(credentials: str) -> dict[str, str]:
    return {"authorization": f"Bearer {credentials}"}


def get(client: httpx.Client, credentials: str) -> httpx.Response:
    return client.get("/v1/knowledge-bases", headers=bearer(credentials))


# What is right


def test_a_key_and_a_token_that_count_get_in(
    client: httpx.Client, installation: Installation, issuer: OidcIssuer, released: Corpus
) -> None:
    assert get(client, make_key(installation)).status_code == 200
    assert get(client, issuer.token()).status_code == 200
    signed = jwt.encode(issuer.claims(aud=["other", AUDIENCE]), issuer.ec, "ES256", headers={"kid": "ec"})
    assert get(client, signed).status_code == 200


def test_principals_of_keys_and_tokens_decide_what_is_seen(
    client: httpx.Client, installation: Installation, issuer: OidcIssuer, released: Corpus
) -> None:
    def sees_merger(credentials: str) -> bool:
        body = {"knowledge_base": released.name, "question": "secret merger", "limit": 50}
        response = client.post("/v1/search", json=body, headers=bearer(credentials))
        assert response.status_code == 200
        return "merger" in response.text

    assert not sees_merger(make_key(installation, Scope.SEARCH))
    assert sees_merger(make_key(installation, Scope.SEARCH, principals=("board",)))
    assert not sees_merger(issuer.token())
    assert sees_merger(issuer.token(groups=["staff", "board"]))
    assert sees_merger(issuer.token(groups="board"))


def test_a_group_does_not_pass_for_a_person(
    client: httpx.Client, installation: Installation, issuer: OidcIssuer, corpus: Corpus
) -> None:
    corpus.write("eve.md", "---\nacl: ['user:eve']\n---\nThe diary of the bakery is private.")
    run_night(installation, corpus.name)
    body = {"knowledge_base": corpus.name, "question": "diary of the bakery", "limit": 50}
    for token, sees in ((issuer.token(groups=["user:eve"]), False), (issuer.token(sub="eve"), True)):
        found = client.post("/v1/search", json=body, headers=bearer(token))
        assert ("diary" in json.dumps(found.json()["passages"])) is sees


def test_a_knowledge_base_is_not_there_for_who_is_not_its_audience(
    client: httpx.Client, installation: Installation, issuer: OidcIssuer, released: Corpus
) -> None:
    released.define(audience=["board"])
    for path in ("", f"/{released.name}", f"/{released.name}/releases"):
        seen = client.get(f"/v1/knowledge-bases{path}", headers=bearer(issuer.token(groups=["board"])))
        hidden = client.get(f"/v1/knowledge-bases{path}", headers=bearer(issuer.token()))
        assert released.name in seen.text or path.endswith("releases")
        assert seen.status_code == 200
        assert hidden.status_code == (404 if path else 200)
        assert "bakery" not in hidden.text
        assert path or released.name not in hidden.text
    body = {"knowledge_base": released.name, "question": "rooms of the bakery"}
    assert client.post("/v1/search", json=body, headers=bearer(issuer.token())).status_code == 404
    assert client.post("/v1/answers", json=body, headers=bearer(issuer.token())).status_code == 404


def test_roles_give_scopes(guarded: Settings, issuer: OidcIssuer, released: Corpus) -> None:
    with_roles = guarded.model_copy(update={"oidc_roles": {"staff": (Scope.SEARCH,)}})
    body = {"knowledge_base": released.name, "question": "rooms of the bakery"}
    with api_at(with_roles) as url:
        for groups, status in ((["staff"], 200), (["others"], 403)):
            token = issuer.token(scope=None, groups=groups)
            assert httpx.post(f"{url}/v1/search", json=body, headers=bearer(token)).status_code == status


def test_the_issuer_may_be_away_once_its_keys_are_known(client: httpx.Client, issuer: OidcIssuer) -> None:
    assert get(client, issuer.token()).status_code == 200
    issuer.down = True
    assert get(client, issuer.token()).status_code == 200


def test_without_any_keys_of_the_issuer_it_is_said_to_be_away(guarded: Settings, issuer: OidcIssuer) -> None:
    issuer.down = True
    with api_at(guarded) as url:
        response = httpx.get(f"{url}/v1/knowledge-bases", headers=bearer(issuer.token()))
    assert response.status_code == 503


def test_invented_key_ids_do_not_make_us_ask_the_issuer_again_and_again(
    client: httpx.Client, issuer: OidcIssuer
) -> None:
    for number in range(20):
        assert get(client, issuer.token(headers={"kid": f"invented-{number}"})).status_code == 401
    assert issuer.asked <= 2


def test_the_use_of_a_key_is_noted(client: httpx.Client, installation: Installation) -> None:
    key = make_key(installation)
    get(client, key)
    with installation.catalog.reading() as connection:
        assert scalar(connection, "SELECT last_used_at FROM api_key WHERE id = %s", key.split("_")[1]) is not None
        kept = scalar(connection, "SELECT row_to_json(k)::text FROM api_key k WHERE id = %s", key.split("_")[1])
    assert key.split("_")[2] not in kept


def test_the_command_line_asks_with_the_key_of_its_settings(
    client: httpx.Client, installation: Installation, released: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINDSET_API_URL", str(client.base_url))
    command = ["search", released.name, "rooms of the bakery"]
    refused = CliRunner().invoke(app, command)
    assert isinstance(refused.exception, NotAuthenticated)
    assert "MINDSET_API_KEY" in str(refused.exception)
    monkeypatch.setenv("MINDSET_API_KEY", make_key(installation, Scope.SEARCH))
    assert "doc1.md" in CliRunner().invoke(app, command).output


# What is wrong


def b64(data: Any) -> str:
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unsigned(issuer: OidcIssuer, algorithm: Any, signature: str = "") -> str:
    return f"{b64({'alg': algorithm, 'kid': 'rsa', 'typ': 'JWT'})}.{b64(issuer.claims())}.{signature}"


def public_pem(issuer: OidcIssuer) -> bytes:
    return issuer.rsa.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def confused(issuer: OidcIssuer, algorithm: str, secret: bytes | None = None, kid: str = "rsa") -> str:
    """Signed with a shared secret that is everybody's: the public key."""
    signed = f"{b64({'alg': algorithm, 'kid': kid})}.{b64(issuer.claims())}"
    digest = {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}[algorithm]
    return (
        f"{signed}.{b64(hmac.new(public_pem(issuer) if secret is None else secret, signed.encode(), digest).digest())}"
    )


def by_stranger(issuer: OidcIssuer, headers: dict[str, Any]) -> str:
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    if headers.get("jwk") == "own":
        headers = headers | {"jwk": jwt.algorithms.RSAAlgorithm.to_jwk(stranger.public_key(), as_dict=True)}
    return jwt.encode(issuer.claims(), stranger, "RS256", headers=headers)


def flipped(token: str, at: int) -> str:
    return token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]


NOW = time.time
TOKENS: dict[str, Callable[[OidcIssuer], str]] = {
    **{f"alg {name!r}": partial(unsigned, algorithm=name)
       for name in ("none", "None", "NONE", "nOnE", "", None, 0, [], ["RS256"], {"a": 1}, "none ", "RS256\0")},
    "alg none with a signature": lambda i: unsigned(i, "none", "AAAA"),
    "alg RS256 without a signature": lambda i: unsigned(i, "RS256"),
    **{f"{name} with the public key": partial(confused, algorithm=name)
       for name in ("HS256", "HS384", "HS512")},
    "HS256 with nothing": lambda i: confused(i, "HS256", b""),
    "HS256 with the key's id": lambda i: confused(i, "HS256", b"rsa"),
    "RS512, which is not allowed": lambda i: jwt.encode(i.claims(), i.rsa, "RS512", headers={"kid": "rsa"}),
    "PS256, which is not allowed": lambda i: jwt.encode(i.claims(), i.rsa, "PS256", headers={"kid": "rsa"}),
    "ES256 under the RSA key's id": lambda i: jwt.encode(i.claims(), i.ec, "ES256", headers={"kid": "rsa"}),
    "RS256 under the EC key's id": lambda i: jwt.encode(i.claims(), i.rsa, "RS256", headers={"kid": "ec"}),
    "another audience": lambda i: i.token(aud="payroll"),
    "no audience": lambda i: i.token(aud=None),
    "an empty list of audiences": lambda i: i.token(aud=[]),
    "an audience that begins like ours": lambda i: i.token(aud=f"{AUDIENCE}-test"),
    "another issuer": lambda i: i.token(iss="https://evil.example"),
    "our issuer with a slash": lambda i: i.token(iss=f"{i.url}/"),
    "no issuer": lambda i: i.token(iss=None),
    "expired": lambda i: i.token(exp=int(NOW()) - 60),
    "expired long ago": lambda i: i.token(exp=0),
    "no expiry": lambda i: i.token(exp=None),
    "an expiry that is a word": lambda i: i.token(exp="tomorrow"),
    "not yet valid": lambda i: i.token(nbf=int(NOW()) + 3_600),
    "issued in the future": lambda i: i.token(iat=int(NOW()) + 3_600),
    "no subject": lambda i: i.token(sub=None),
    "an empty subject": lambda i: i.token(sub=""),
    "a subject that is a list": lambda i: _raw(i, sub=["ada"]),
    "an endless subject": lambda i: i.token(sub="a" * 5_000),
    **{f"kid {kid!r}": partial(by_stranger, headers={"kid": kid})
       for kid in ("rsa", "../../dev/null", "rsa' OR '1'='1", "http://evil.example/key", "", "rsa\0", "RSA")},
    "no kid": lambda i: jwt.encode(i.claims(), i.rsa, "RS256"),
    "a key of its own": lambda i: by_stranger(i, {"kid": "own", "jwk": "own"}),
    "a key of its own under our id": lambda i: by_stranger(i, {"kid": "rsa", "jwk": "own"}),
    "keys from elsewhere": lambda i: by_stranger(i, {"kid": "x", "jku": "http://127.0.0.1:9/keys"}),
    "a certificate from elsewhere": lambda i: by_stranger(i, {"kid": "x", "x5u": "http://127.0.0.1:9/cert"}),
    "a demand in its header": lambda i: i.token(headers={"crit": ["exp"]}),
    "a payload that is not encoded": lambda i: i.token(headers={"b64": False, "crit": ["b64"]}),
    "a changed signature": lambda i: flipped(i.token(), -20),
    "changed claims": lambda i: flipped(i.token(), len(i.token()) // 2),
    "half a signature": lambda i: i.token()[:-100],
    "no dots": lambda i: i.token().replace(".", ""),
    "two tokens in one": lambda i: f"{i.token()}.{i.token()}",
    "padding": lambda i: f"{i.token()}====x",
    "claims that are a list": lambda i: f"{b64({'alg': 'RS256', 'kid': 'rsa'})}.{b64([])}.AAAA",
    "claims that are not JSON": lambda i: f"{b64({'alg': 'RS256', 'kid': 'rsa'})}.{b64(b'ada')}.AAAA",
    "a header that is not JSON": lambda i: f"{b64(b'x')}.{b64(i.claims())}.AAAA",
    "a megabyte": lambda i: f"{i.token()}{'A' * 30_000}",
    "an encrypted one": lambda i: f"{b64({'alg': 'RSA-OAEP', 'enc': 'A128GCM', 'kid': 'rsa'})}.a.b.c.d",
    "a symmetric key of the issuer": lambda i: confused(i, "HS256", b"shared", kid="oct"),
    "an encryption key of the issuer": lambda i: jwt.encode(i.claims(), i.rsa, "RS256", headers={"kid": "enc"}),
    "nothing": lambda i: "",
    "a word": lambda i: "admin",
}  # fmt: skip


def _raw(issuer: OidcIssuer, **changed: Any) -> str:
    """Signed, with claims that PyJWT would not write."""
    signed = f"{b64({'alg': 'RS256', 'kid': 'rsa'})}.{b64(issuer.claims(**changed))}"
    algorithm = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256)
    return f"{signed}.{b64(algorithm.sign(signed.encode(), issuer.rsa))}"


def test_no_wrong_token_gets_in(client: httpx.Client, issuer: OidcIssuer) -> None:
    public = jwt.algorithms.RSAAlgorithm.to_jwk(issuer.rsa.public_key(), as_dict=True)
    issuer.extra_keys = [{"kty": "oct", "kid": "oct", "k": b64(b"shared"), "alg": "HS256"},
                         public | {"kid": "enc", "use": "enc"}]  # fmt: skip
    assert len(TOKENS) >= 50
    assert get(client, issuer.token()).status_code == 200
    passed = {name: code for name, make in TOKENS.items() if (code := _code(client, make(issuer))) != 401}
    assert passed == {}


def _code(client: httpx.Client, credentials: str) -> int:
    raw = b"Bearer " + credentials.encode()
    try:
        return client.get("/v1/knowledge-bases", headers=[(b"authorization", raw)]).status_code
    except httpx.LocalProtocolError:
        return 401  # no client can even send it


HEADERS: dict[str, Callable[[str], list[tuple[bytes, bytes]]]] = {
    "none": lambda key: [],
    "no scheme": lambda key: [(b"authorization", key.encode())],
    "Basic": lambda key: [(b"authorization", b"Basic " + base64.b64encode(key.encode()))],
    "two of them": lambda key: [(b"authorization", b"Bearer " + key.encode())] * 2,
    "two in one": lambda key: [(b"authorization", f"Bearer {key}, Bearer {key}".encode())],
    "two spaces": lambda key: [(b"authorization", b"Bearer  " + key.encode())],
    "a cookie": lambda key: [(b"cookie", b"authorization=Bearer " + key.encode())],
    "another header": lambda key: [(b"x-api-key", key.encode()), (b"x-forwarded-authorization", key.encode())],
    "not ASCII": lambda key: [(b"authorization", b"Bearer " + key.encode() + b"\xc3\xa9")],
}


@pytest.mark.parametrize("headers", HEADERS)
def test_credentials_come_in_one_header_of_one_form(
    client: httpx.Client, installation: Installation, headers: str
) -> None:
    response = client.get("/v1/knowledge-bases", headers=HEADERS[headers](make_key(installation)))
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert response.json()["type"] == "urn:mindset:NotAuthenticated"


def test_credentials_in_the_address_do_not_count(client: httpx.Client, installation: Installation) -> None:
    key = make_key(installation)
    for name in ("access_token", "api_key", "authorization", "token"):
        assert client.get("/v1/knowledge-bases", params={name: key}).status_code == 401


def test_no_wrong_key_gets_in(client: httpx.Client, installation: Installation) -> None:
    key, other = make_key(installation), make_key(installation)
    prefix, id_, secret = key.split("_")
    wrong = {
        "another's secret": f"{prefix}_{id_}_{other.split('_')[2]}",
        "another's id": f"{prefix}_{other.split('_')[1]}_{secret}",
        "no secret": f"{prefix}_{id_}_",
        "half the secret": key[:-10],
        "a changed secret": flipped(key, -1),
        "a longer secret": f"{key}A",
        "an unknown id": f"{prefix}_{'0' * 12}_{secret}",
        "an id of SQL": f"{prefix}_' OR 1=1 --_{secret}",
        "another case": f"{prefix}_{id_}_{secret.swapcase()}",
        "another prefix": f"px_{id_}_{secret}",
        "expired": make_key(installation, ends=datetime.now(UTC) - timedelta(seconds=1)),
        "the hash": f"{prefix}_{id_}_{hmac.new(PEPPER.encode(), secret.encode(), 'sha256').hexdigest()[:43]}",
    }
    passed = {name: code for name, each in wrong.items() if (code := _code(client, each)) != 401}
    assert passed == {}
    assert get(client, key).status_code == 200


def test_a_revoked_key_is_refused_at_once(client: httpx.Client, installation: Installation) -> None:
    key = make_key(installation)
    assert get(client, key).status_code == 200
    with installation.catalog.writing() as connection:
        assert revoke_key(connection, key.split("_")[1])
    assert get(client, key).status_code == 401


def test_another_pepper_makes_keys_useless(guarded: Settings, installation: Installation) -> None:
    key = make_key(installation)
    with api_at(guarded.model_copy(update={"api_key_pepper": SecretStr(PEPPER[::-1])})) as url:
        assert httpx.get(f"{url}/v1/knowledge-bases", headers=bearer(key)).status_code == 401


def test_a_credential_of_a_kind_that_is_not_set_up_does_not_count(
    guarded: Settings, installation: Installation, issuer: OidcIssuer
) -> None:
    with api_at(guarded.model_copy(update={"oidc_issuer": None})) as url:
        assert httpx.get(f"{url}/v1/knowledge-bases", headers=bearer(issuer.token())).status_code == 401
    with api_at(guarded.model_copy(update={"api_key_pepper": None})) as url:
        assert httpx.get(f"{url}/v1/knowledge-bases", headers=bearer(make_key(installation))).status_code == 401


OPEN = {"/livez", "/readyz", "/metrics", "/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"}


def test_every_route_refuses_who_is_not_known_and_who_lacks_its_scope(
    client: httpx.Client, installation: Installation
) -> None:
    key = make_key(installation, Scope.FEEDBACK)
    paths = client.get("/openapi.json").json()["paths"]
    passed = []
    for path, operations in paths.items():
        for method in operations:
            if path in OPEN:
                continue
            address = path.replace("{", "").replace("}", "")
            passed += [
                (method, path, code)
                for headers, code in (({}, 401), (bearer(key), 403))
                if client.request(method, address, headers=headers, json={}).status_code not in (code, 422, 400)
                and (code == 401 or not path.startswith("/v1/feedback"))
            ]
    assert passed == []


def test_a_scope_is_asked_for_before_a_body_is_looked_at(client: httpx.Client, installation: Installation) -> None:
    response = client.post(
        "/v1/search", json={"knowledge_base": "x", "question": "y"}, headers=bearer(make_key(installation))
    )
    assert response.status_code == 403
    assert "`search`" in response.json()["detail"]


# What is set up wrongly


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"api_host": "0.0.0.0"}, "MINDSET_API_ACCESS=required"),
        ({"api_host": "api.example.com"}, "MINDSET_API_HOST"),
        ({"api_access": "required"}, "MINDSET_API_KEY_PEPPER"),
        ({"api_access": "required", "oidc_issuer": "https://login.example.com"}, "MINDSET_OIDC_AUDIENCE"),
    ],
)
def test_an_api_that_would_let_in_everybody_or_nobody_does_not_start(
    settings: Settings, wrong: dict[str, str], named: str
) -> None:
    with pytest.raises(ConfigurationError, match=named):
        create_app(settings.model_copy(update=wrong))
