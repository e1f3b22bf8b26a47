"""An OpenID Connect issuer: its discovery document, its keys, and valid and invalid tokens."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.providers.http import answered_by
from tests.providers.reply import Reply

AUDIENCE = "product-mindset"


class OidcIssuer:
    """Use it as a context manager. `asked` is the number of requests for its keys; `down` makes it respond with 503."""

    def __init__(self) -> None:
        self.rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.asked = 0
        self.down = False
        self.extra_keys: list[dict[str, Any]] = []
        self._http = answered_by(self._answer)

    @property
    def url(self) -> str:
        return self._http.url

    def __enter__(self) -> Self:
        self._http.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.stop()

    def claims(self, **changed: Any) -> dict[str, Any]:
        """Return the claims of a valid token with these changes; None removes a claim."""
        now = int(time.time())
        valid = {
            "iss": self.url, "aud": AUDIENCE, "sub": "ada", "iat": now, "exp": now + 300, "scope": "ask search read",
            "groups": ["staff"],
        }  # fmt: skip
        return {name: value for name, value in (valid | changed).items() if value is not None}

    def token(self, headers: dict[str, Any] | None = None, **changed: Any) -> str:
        """Return a token signed with the issuer's RSA key."""
        return jwt.encode(self.claims(**changed), self.rsa, "RS256", headers={"kid": "rsa"} | (headers or {}))

    def _answer(self, _method: str, path: str, _headers: Mapping[str, str], _body: bytes) -> Reply:
        document = self._document(path)
        return Reply((json.dumps(document or {}).encode(),), status=503 if self.down else 200 if document else 404)

    def _document(self, path: str) -> dict[str, Any] | None:
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        if path == "/keys":
            self.asked += 1
            keys = [
                jwt.algorithms.RSAAlgorithm.to_jwk(self.rsa.public_key(), as_dict=True) | {"kid": "rsa", "use": "sig"},
                jwt.algorithms.ECAlgorithm.to_jwk(self.ec.public_key(), as_dict=True) | {"kid": "ec"},
            ]
            return {"keys": [*keys, *self.extra_keys]}
        return None
