"""Who sends a request, told by its credentials."""

from __future__ import annotations

import ipaddress
from functools import cached_property

from mindset.access.caller import ANYONE, Caller
from mindset.access.keys import PREFIX, key_caller
from mindset.access.secrets import Secret
from mindset.access.tokens import Issuer, Tokens
from mindset.catalog.connection import Catalog
from mindset.errors import ConfigurationError, NotAuthenticated
from mindset.settings import Settings

_SHORTEST_PEPPER = 32

_HOW = "Send `Authorization: Bearer` with an API key (`mindset keys create`) or a token of your identity provider."


def check_access(settings: Settings) -> None:
    """Raise ConfigurationError where access would be open to a network, or nobody could have any."""
    is_open = settings.api_access == "open"
    if is_open and not _is_loopback(settings.api_host):
        raise ConfigurationError(
            f"MINDSET_API_HOST={settings.api_host} can be reached from elsewhere, and MINDSET_API_ACCESS=open lets "
            "everybody do everything. Set MINDSET_API_ACCESS=required, or listen on 127.0.0.1."
        )
    if settings.api_key_pepper:
        pepper = Secret("MINDSET_API_KEY_PEPPER", settings.api_key_pepper)
        if not pepper.is_reference:  # a store that is away must not keep the API from its start
            check_pepper(pepper.value())
    if settings.oidc_issuer and not settings.oidc_audience:
        raise ConfigurationError(
            "MINDSET_OIDC_ISSUER is set and MINDSET_OIDC_AUDIENCE is not: tokens made for other services would count. "
            "Set it to what the issuer puts into `aud` for this one."
        )
    if not is_open and not (settings.api_key_pepper or settings.oidc_issuer):
        raise ConfigurationError(
            "MINDSET_API_ACCESS=required, and nobody could have any: set MINDSET_API_KEY_PEPPER for API keys, or "
            "MINDSET_OIDC_ISSUER for tokens."
        )


def check_pepper(pepper: str) -> None:
    """Raise ConfigurationError where keys would be hashed with something that can be guessed."""
    if len(pepper) < _SHORTEST_PEPPER:
        raise ConfigurationError(
            f"MINDSET_API_KEY_PEPPER has {len(pepper)} characters; {_SHORTEST_PEPPER} is the least. Make another: "
            "python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )


class Authentication:
    """Thread-safe. Close it by `close`."""

    def __init__(self, catalog: Catalog, settings: Settings) -> None:
        self._catalog, self._settings = catalog, settings
        self.is_open = settings.api_access == "open"

    @cached_property
    def pepper(self) -> Secret | None:
        """What keys are hashed with."""
        given = self._settings.api_key_pepper
        return Secret("MINDSET_API_KEY_PEPPER", given, self._settings.secrets_refresh_s) if given else None

    @cached_property
    def _tokens(self) -> Tokens | None:
        settings = self._settings
        if not settings.oidc_issuer:
            return None
        return Tokens(
            Issuer(
                settings.oidc_issuer,
                settings.oidc_audience or "",
                settings.oidc_jwks_url,
                settings.oidc_algorithms,
                settings.oidc_principals_claim,
                settings.oidc_scopes_claim,
                settings.oidc_roles,
            )
        )

    def caller(self, authorizations: list[str]) -> Caller:
        """Who the values of a request's Authorization headers stand for. Raises NotAuthenticated, ServiceUnavailable."""
        if self.is_open:
            return ANYONE
        if not authorizations:
            raise NotAuthenticated(f"There are no credentials. {_HOW}")
        scheme, _, credentials = authorizations[0].partition(" ")
        if len(authorizations) > 1 or scheme.lower() != "bearer" or not _is_token(credentials):
            raise NotAuthenticated(f"The Authorization header is not one `Bearer` with one value. {_HOW}")
        if credentials.startswith(PREFIX) and self.pepper:
            return key_caller(self._catalog, self.pepper.value(), credentials)
        if self._tokens and not credentials.startswith(PREFIX):
            return self._tokens.caller(credentials)
        raise NotAuthenticated(f"Credentials of this kind do not count here. {_HOW}")

    def close(self) -> None:
        """End the connection to the issuer."""
        if tokens := self.__dict__.get("_tokens"):
            tokens.close()


def _is_token(credentials: str) -> bool:
    """RFC 6750's b64token, which keys and JWTs are."""
    return bool(credentials) and all(each.isascii() and (each.isalnum() or each in "-._~+/=") for each in credentials)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
