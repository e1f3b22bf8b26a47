"""Bearer tokens of an OpenID Connect issuer: who they stand for, if they count."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import jwt
import structlog

from mindset.access.caller import Caller, Scope, as_principals
from mindset.errors import NotAuthenticated, ServiceUnavailable

_log = structlog.get_logger()

LONGEST = 16_384
"""Characters of the longest token that is looked at."""

_LEEWAY_S = 30
_FRESH_S = 600.0
# An unknown key may be a new one, or somebody's invention: the issuer is asked for those no more often than this.
_ASK_AGAIN_S = 10.0
_MOST_PRINCIPALS, _LONGEST_PRINCIPAL = 200, 200
_ASYMMETRIC = frozenset({"RSA", "EC", "OKP"})


@dataclass(frozen=True)
class Issuer:
    """Whose tokens count, and what their claims mean."""

    issuer: str
    audience: str
    jwks_url: str | None = None
    """None: as the issuer's discovery document says."""
    algorithms: Sequence[str] = ("RS256", "ES256")
    principals_claim: str = "groups"
    scopes_claim: str = "scope"
    roles: Mapping[str, Sequence[Scope]] = field(default_factory=dict)
    """Scopes of those who have a principal."""


class Tokens:
    """Tells who a token stands for; thread-safe. Close it by `close`."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        self._http = httpx.Client(timeout=5, follow_redirects=False)
        self._fetching = threading.Lock()
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched = self._tried = -_FRESH_S

    def close(self) -> None:
        """End the connection to the issuer."""
        self._http.close()

    def caller(self, token: str) -> Caller:
        """Raises NotAuthenticated, the reason in words that give nothing away; ServiceUnavailable without any keys."""
        if len(token) > LONGEST:
            raise _refused("it is too long")
        try:
            head = jwt.get_unverified_header(token)
            if "crit" in head or head.get("b64") is False:
                raise _refused("its header asks for what is not supported")
            claims = jwt.decode(
                token,
                self._key(head.get("kid"), head.get("alg")),
                algorithms=list(self._issuer.algorithms),
                audience=self._issuer.audience,
                issuer=self._issuer.issuer,
                leeway=_LEEWAY_S,
                options={"require": ["exp", "iss", "aud", "sub"], "strict_aud": False},
            )
        except jwt.ExpiredSignatureError:
            raise _refused("it has expired") from None
        except (jwt.PyJWTError, ValueError, TypeError) as wrong:  # what comes of a header or a claim of a wrong type
            _log.info("token refused", why=type(wrong).__name__)
            raise _refused("it is not valid here") from None
        return self._caller(claims)

    def _caller(self, claims: Mapping[str, Any]) -> Caller:
        subject = str(claims["sub"])
        if not _is_name(subject):
            raise _refused("its subject is empty, too long or not printable")
        principals = _names(claims.get(self._issuer.principals_claim))
        scopes = claims.get(self._issuer.scopes_claim)
        scopes = {*_names(scopes.split() if isinstance(scopes, str) else scopes)}
        known = {str(scope) for scope in Scope}
        granted = {Scope(each) for each in scopes & known}
        # A group must not be able to pass for a person.
        own = [*(each for each in principals if not each.startswith("user:")), f"user:{subject}"]
        granted |= {scope for each in own for scope in self._issuer.roles.get(each, ())}
        return Caller(f"oidc:{subject}", frozenset(granted), as_principals(own))

    def _key(self, kid: Any, algorithm: Any) -> jwt.PyJWK:
        """The issuer's key of an id; nothing else that a header says of keys is looked at."""
        if not isinstance(kid, str) or algorithm not in self._issuer.algorithms:
            raise _refused("its header names no key, or an algorithm that is not allowed")
        now = time.monotonic()
        known = self._keys.get(kid)
        wanted = known is None or now - self._fetched > _FRESH_S
        if not self._keys or (wanted and now - self._tried > _ASK_AGAIN_S):
            self._fetch(now)
            known = self._keys.get(kid)
        if not self._keys:
            raise ServiceUnavailable(
                f"The keys of {self._issuer.issuer} cannot be read. Try again, or check MINDSET_OIDC_ISSUER."
            )
        if known is None:
            raise _refused("its key is not one of the issuer's")
        if known.algorithm_name != algorithm:
            raise _refused("its algorithm is not its key's")
        return known

    def _fetch(self, now: float) -> None:
        """Ask the issuer for its keys; those known stay in use where it does not answer."""
        # Whoever has keys does not wait for who asks already: an issuer that hangs would make all of them wait.
        if not self._fetching.acquire(blocking=not self._keys):
            return
        try:
            if self._tried > now - 1 or (self._keys and now - self._tried < _ASK_AGAIN_S):
                return
            self._tried = time.monotonic()
            usable = dict(_usable(self._http.get(self._jwks_url()).raise_for_status().json()["keys"]))
            if not usable:
                raise ValueError("it lists no key that can be used")
            self._keys, self._fetched = usable, self._tried
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as failed:
            _log.warning("keys of the issuer not read", issuer=self._issuer.issuer, why=str(failed))
        finally:
            self._fetching.release()

    def _jwks_url(self) -> str:
        if self._issuer.jwks_url:
            return self._issuer.jwks_url
        found = self._http.get(f"{self._issuer.issuer.rstrip('/')}/.well-known/openid-configuration")
        return str(found.raise_for_status().json()["jwks_uri"])


def _usable(listed: Any) -> list[tuple[str, jwt.PyJWK]]:
    """The public keys that sign; a symmetric one among them would let everybody who can read it sign."""
    keys = []
    for each in listed if isinstance(listed, list) else []:
        if not isinstance(each, dict) or each.get("kty") not in _ASYMMETRIC or each.get("use", "sig") != "sig":
            continue
        try:
            keys.append((str(each["kid"]), jwt.PyJWK.from_dict(each)))
        except (jwt.PyJWTError, KeyError, ValueError):
            _log.warning("a key of the issuer cannot be used", kid=str(each.get("kid"))[:80])
    return keys


def _names(claim: Any) -> list[str]:
    """A claim that is a list of strings, or one string: who is in `guests of staff` is not in `staff`."""
    listed = [claim] if isinstance(claim, str) else claim if isinstance(claim, list) else []
    return [each for each in listed if isinstance(each, str) and _is_name(each)][:_MOST_PRINCIPALS]


def _is_name(text: str) -> bool:
    """Whether logs and Postgres can take it, which refuses NUL."""
    return 0 < len(text) <= _LONGEST_PRINCIPAL and text.isprintable()


def _refused(why: str) -> NotAuthenticated:
    return NotAuthenticated(f"The bearer token does not count: {why}. Get a new one from your identity provider.")
