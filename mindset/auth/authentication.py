"""Authentication of requests by their credentials."""

from __future__ import annotations

import ipaddress
from functools import cached_property

from mindset.auth.api_keys import KEY_ID_LENGTH, PREFIX, key_caller
from mindset.auth.caller import ANYONE, Caller
from mindset.auth.oidc import IssuerSettings, TokenVerifier
from mindset.catalog.pool import Catalog
from mindset.config.secrets import Secret
from mindset.config.settings import Settings
from mindset.errors import ConfigurationError, NotAuthenticated

_MIN_PEPPER_LENGTH = 32

_REMEDY = "Send `Authorization: Bearer` with an API key (`mindset keys create`) or a token of your identity provider."


def check_access(settings: Settings) -> None:
    """Raise ConfigurationError if access would be open to a network, or if no caller could get access."""
    is_open = settings.api_access == "open"
    if is_open and not _is_loopback(settings.api_host):
        raise ConfigurationError(
            f"MINDSET_API_HOST={settings.api_host} can be reached from other machines, and "
            "MINDSET_API_ACCESS=open grants every scope to every client. Set MINDSET_API_ACCESS=required, or listen on 127.0.0.1."
        )
    if settings.api_key_pepper:
        pepper = Secret("MINDSET_API_KEY_PEPPER", settings.api_key_pepper)
        if not pepper.is_reference:  # an unavailable secret store must not prevent the API from starting
            check_pepper(pepper.value())
    if settings.oidc_issuer and not settings.oidc_audience:
        raise ConfigurationError(
            "MINDSET_OIDC_ISSUER is set but MINDSET_OIDC_AUDIENCE is not: tokens issued for other services would be "
            "accepted. Set it to the `aud` claim of this service's tokens."
        )
    if not is_open and not (settings.api_key_pepper or settings.oidc_issuer):
        raise ConfigurationError(
            "MINDSET_API_ACCESS=required, but no client could get access: set MINDSET_API_KEY_PEPPER for API keys, or "
            "MINDSET_OIDC_ISSUER for tokens."
        )


def check_pepper(pepper: str) -> None:
    """Raise ConfigurationError if a pepper is so short that it can be guessed."""
    if len(pepper) < _MIN_PEPPER_LENGTH:
        raise ConfigurationError(
            f"MINDSET_API_KEY_PEPPER has {len(pepper)} characters; the minimum is {_MIN_PEPPER_LENGTH}. Generate one: "
            "python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )


class Authentication:
    """Authenticates callers by API key or token. Thread-safe. Close it with `close`."""

    def __init__(self, catalog: Catalog, settings: Settings) -> None:
        self._catalog, self._settings = catalog, settings
        self.is_open = settings.api_access == "open"

    @cached_property
    def pepper(self) -> Secret | None:
        """The secret that keys are hashed with."""
        pepper = self._settings.api_key_pepper
        return Secret("MINDSET_API_KEY_PEPPER", pepper, self._settings.secrets_refresh_s) if pepper else None

    @cached_property
    def _token_verifier(self) -> TokenVerifier | None:
        settings = self._settings
        if not settings.oidc_issuer:
            return None
        return TokenVerifier(
            IssuerSettings(
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
        """Return the caller for the values of a request's Authorization headers.

        Raises NotAuthenticated, ServiceUnavailable."""
        if self.is_open:
            return ANYONE
        if not authorizations:
            raise NotAuthenticated(f"The request has no credentials. {_REMEDY}")
        scheme, _, credentials = authorizations[0].partition(" ")
        if len(authorizations) > 1 or scheme.lower() != "bearer" or not _is_token(credentials):
            raise NotAuthenticated(f"The Authorization header is not `Bearer` followed by one token. {_REMEDY}")
        if credentials.startswith(PREFIX) and self.pepper:
            return key_caller(self._catalog, self.pepper.value(), credentials)
        if self._token_verifier and not credentials.startswith(PREFIX):
            return self._token_verifier.caller(credentials)
        raise NotAuthenticated(f"This service does not accept credentials of this kind. {_REMEDY}")

    def close(self) -> None:
        """Close the connection to the issuer."""
        if verifier := self.__dict__.get("_token_verifier"):
            verifier.close()


def credential_prefix(authorization: str) -> str:
    """Return the part of an Authorization header that names the credential and is not secret: a key's id, or else the kind.

    Works on any text, valid or not."""
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() != "bearer":
        return "other"
    if not credentials.startswith(PREFIX):
        return "token"
    return credentials[: len(PREFIX) + KEY_ID_LENGTH]


def _is_token(credentials: str) -> bool:
    """Return whether the text is a b64token of RFC 6750, as keys and JWTs are."""
    return bool(credentials) and all(
        character.isascii() and (character.isalnum() or character in "-._~+/=") for character in credentials
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
