"""Verification of bearer tokens of an OpenID Connect issuer."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import jwt
import structlog

from mindset.auth.caller import Caller, as_principals
from mindset.config.scopes import Scope
from mindset.errors import NotAuthenticated, ServiceUnavailable

_log = structlog.get_logger()

MAX_TOKEN_LENGTH = 16_384
"""In characters. Longer tokens are rejected unread."""

_LEEWAY_S = 30
_KEYS_TTL_S = 600.0
# An unknown key id may be new or invented: keys are fetched for it no more often than this.
_MIN_FETCH_INTERVAL_S = 10.0
_MAX_PRINCIPALS, _MAX_PRINCIPAL_LENGTH = 200, 200
_ASYMMETRIC = frozenset({"RSA", "EC", "OKP"})


@dataclass(frozen=True)
class IssuerSettings:
    """The accepted issuer and the meaning of its claims."""

    issuer: str
    audience: str
    jwks_url: str | None = None
    """None: taken from the issuer's discovery document."""
    algorithms: Sequence[str] = ("RS256", "ES256")
    principals_claim: str = "groups"
    scopes_claim: str = "scope"
    roles: Mapping[str, Sequence[Scope]] = field(default_factory=dict)
    """Scopes that each principal grants."""


class TokenVerifier:
    """Verifies tokens and returns their callers. Thread-safe. Close it with `close`."""

    def __init__(self, issuer: IssuerSettings) -> None:
        self._issuer = issuer
        self._http = httpx.Client(timeout=5, follow_redirects=False)
        self._fetch_lock = threading.Lock()
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = self._tried_at = -_KEYS_TTL_S

    def close(self) -> None:
        """Close the connection to the issuer."""
        self._http.close()

    def caller(self, token: str) -> Caller:
        """Return the caller of a token.

        Raises NotAuthenticated with a reason that reveals nothing; ServiceUnavailable if no keys were ever fetched."""
        if len(token) > MAX_TOKEN_LENGTH:
            raise _rejected("it is too long")
        try:
            header = jwt.get_unverified_header(token)
            if "crit" in header or header.get("b64") is False:
                raise _rejected("its header requires an unsupported extension")
            key = self._key(header.get("kid"), header.get("alg"))
            try:
                claims, expired = self._claims(token, key), False
            except jwt.ExpiredSignatureError:  # raised before the other claims are checked
                claims, expired = self._claims(token, key, verify_exp=False), True
        except (jwt.PyJWTError, ValueError, TypeError) as error:  # also raised for headers and claims of the wrong type
            _log.info("token rejected", error=type(error).__name__)
            raise _rejected("it is not valid for this service") from None
        caller = self._caller(claims)
        if expired:
            raise _rejected("it has expired", expired=True)
        return caller

    def _claims(self, token: str, key: jwt.PyJWK, *, verify_exp: bool = True) -> dict[str, Any]:
        return jwt.decode(
            token,
            key,
            algorithms=list(self._issuer.algorithms),
            audience=self._issuer.audience,
            issuer=self._issuer.issuer,
            leeway=_LEEWAY_S,
            options={"require": ["exp", "iss", "aud", "sub"], "strict_aud": False, "verify_exp": verify_exp},
        )

    def _caller(self, claims: Mapping[str, Any]) -> Caller:
        subject = str(claims["sub"])
        if not _is_name(subject):
            raise _rejected("its subject is empty, too long or not printable")
        principals = _names(claims.get(self._issuer.principals_claim))
        scopes = claims.get(self._issuer.scopes_claim)
        scopes = {*_names(scopes.split() if isinstance(scopes, str) else scopes)}
        known = {str(scope) for scope in Scope}
        granted = {Scope(scope) for scope in scopes & known}
        # A group must not be able to impersonate a user.
        own = [*(principal for principal in principals if not principal.startswith("user:")), f"user:{subject}"]
        granted |= {scope for principal in own for scope in self._issuer.roles.get(principal, ())}
        return Caller(f"oidc:{subject}", frozenset(granted), as_principals(own))

    def _key(self, kid: Any, algorithm: Any) -> jwt.PyJWK:
        """Return the issuer's key with this id; other key references in the header are ignored."""
        if not isinstance(kid, str) or algorithm not in self._issuer.algorithms:
            raise _rejected("its header names no key, or a forbidden algorithm")
        now = time.monotonic()
        key = self._keys.get(kid)
        outdated = key is None or now - self._fetched_at > _KEYS_TTL_S
        if not self._keys or (outdated and now - self._tried_at > _MIN_FETCH_INTERVAL_S):
            self._fetch(now)
            key = self._keys.get(kid)
        if not self._keys:
            raise ServiceUnavailable(
                f"The keys of {self._issuer.issuer} cannot be read. Try again, or check MINDSET_OIDC_ISSUER."
            )
        if key is None:
            raise _rejected("its key is not one of the issuer's")
        if key.algorithm_name != algorithm:
            raise _rejected("its algorithm differs from its key's")
        return key

    def _fetch(self, now: float) -> None:
        """Fetch the issuer's keys; the previous ones stay valid if that fails."""
        # With keys at hand, do not wait for a thread that is already fetching: the issuer may hang.
        if not self._fetch_lock.acquire(blocking=not self._keys):
            return
        try:
            if self._tried_at > now - 1 or (self._keys and now - self._tried_at < _MIN_FETCH_INTERVAL_S):
                return
            self._tried_at = time.monotonic()
            keys = dict(_signing_keys(self._http.get(self._jwks_url()).raise_for_status().json()["keys"]))
            if not keys:
                raise ValueError("it lists no usable key")
            self._keys, self._fetched_at = keys, self._tried_at
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
            _log.warning("issuer keys not fetched", issuer=self._issuer.issuer, error=str(error))
        finally:
            self._fetch_lock.release()

    def _jwks_url(self) -> str:
        if self._issuer.jwks_url:
            return self._issuer.jwks_url
        discovery = self._http.get(f"{self._issuer.issuer.rstrip('/')}/.well-known/openid-configuration")
        return str(discovery.raise_for_status().json()["jwks_uri"])


def _signing_keys(listed: Any) -> list[tuple[str, jwt.PyJWK]]:
    """Return the usable public keys. A symmetric key would allow everyone who can read it to sign, so it is skipped."""
    keys = []
    for raw in listed if isinstance(listed, list) else []:
        if not isinstance(raw, dict) or raw.get("kty") not in _ASYMMETRIC or raw.get("use", "sig") != "sig":
            continue
        try:
            keys.append((str(raw["kid"]), jwt.PyJWK.from_dict(raw)))
        except (jwt.PyJWTError, KeyError, ValueError):
            _log.warning("issuer key unusable", kid=str(raw.get("kid"))[:80])
    return keys


def _names(claim: Any) -> list[str]:
    """Return the names in a claim: a list of strings, or one string that is not split at spaces.

    A member of the group `guests of staff` must not become a member of `staff`."""
    names = [claim] if isinstance(claim, str) else claim if isinstance(claim, list) else []
    return [name for name in names if isinstance(name, str) and _is_name(name)][:_MAX_PRINCIPALS]


def _is_name(text: str) -> bool:
    """Return whether logs and Postgres, which rejects NUL, can store the text."""
    return 0 < len(text) <= _MAX_PRINCIPAL_LENGTH and text.isprintable()


def _rejected(reason: str, *, expired: bool = False) -> NotAuthenticated:
    return NotAuthenticated(
        f"Invalid bearer token: {reason}. Get a new one from your identity provider.", expired=expired
    )
