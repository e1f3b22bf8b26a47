"""Secrets by reference: a setting may name where its value is kept instead of holding it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import structlog
from pydantic import SecretStr

from mindset.errors import ConfigurationError, ServiceUnavailable

_log = structlog.get_logger()

_AGAIN_S = 30.0


class Secret:
    """The value of a setting, read again every `refresh_s` where it is a reference; thread-safe.

    `aws-secretsmanager:NAME[#key of its JSON]`, `vault:MOUNT/PATH#KEY` (KV version 2; VAULT_ADDR and VAULT_TOKEN from the
    environment), `file:/PATH`; anything else is the value itself."""

    def __init__(self, setting: str, given: SecretStr, refresh_s: float = 300.0) -> None:
        self._setting, self._given, self._refresh_s = setting, given.get_secret_value(), refresh_s
        scheme, _, self._place = self._given.partition(":")
        self._read = _READERS.get(scheme)
        self._reading = threading.Lock()
        self._value: str | None = None
        self._due = 0.0

    @property
    def is_reference(self) -> bool:
        """Whether it names where the value is kept."""
        return self._read is not None

    def value(self) -> str:
        """As it is now. A store that does not answer leaves the last value in use.

        Raises ConfigurationError or ServiceUnavailable where it was never read."""
        if self._read is None:
            return self._given
        if time.monotonic() < self._due and self._value is not None:
            return self._value
        # Whoever has a value does not wait for who reads already: a store that hangs would make all of them wait.
        if self._reading.acquire(blocking=self._value is None):
            try:
                if time.monotonic() >= self._due or self._value is None:
                    self._refresh(self._read)
            finally:
                self._reading.release()
        assert self._value is not None
        return self._value

    def _refresh(self, read: Callable[[str], str]) -> None:
        try:
            value = read(self._place)
            if not value.strip():
                raise ConfigurationError("It is empty where it is kept. Write it there.")
            self._value = value
            self._due = time.monotonic() + self._refresh_s
        except (ConfigurationError, ServiceUnavailable) as failed:
            if self._value is None:
                raise type(failed)(f"{self._setting}: {failed}") from None
            self._due = time.monotonic() + min(_AGAIN_S, self._refresh_s)
            _log.warning("secret not read again, the last value stays in use", setting=self._setting, why=str(failed))


def _from_file(place: str) -> str:
    try:
        return Path(place).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as wrong:
        raise ConfigurationError(f"The file {place} cannot be read: {wrong}. Mount it, or correct its path.") from None


def _from_aws(place: str) -> str:
    import boto3.session
    import botocore.exceptions as boto
    from botocore.config import Config

    name, _, key = place.partition("#")
    try:
        # boto3's own limits let a store that hangs take minutes.
        limits = Config(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 2})
        client = boto3.session.Session().client("secretsmanager", config=limits)
        text = str(client.get_secret_value(SecretId=name)["SecretString"])
    except boto.ClientError as refused:
        code = refused.response.get("Error", {}).get("Code", "an error")
        raise ConfigurationError(
            f"AWS Secrets Manager answered {code} for {name}. Check its name, and allow secretsmanager:GetSecretValue on it."
        ) from None
    except (boto.BotoCoreError, KeyError) as lost:
        raise ServiceUnavailable(
            f"AWS Secrets Manager cannot be asked for {name}: {lost}. Check region and credentials."
        ) from lost
    return _member(text, key, name) if key else text


def _from_vault(place: str) -> str:
    import hvac
    import requests

    path, _, key = place.partition("#")
    mount, _, rest = path.strip("/").partition("/")
    if not (rest and key):
        raise ConfigurationError(f"{place!r} is no place in Vault. Write vault:MOUNT/PATH#KEY.")
    try:
        found = hvac.Client(timeout=5).secrets.kv.v2.read_secret_version(
            path=rest, mount_point=mount, raise_on_deleted_version=True
        )
        return str(found["data"]["data"][key])
    except KeyError:
        raise ConfigurationError(f"{path} in Vault has no key {key!r}. Add it, or name another.") from None
    except TypeError as other:  # what comes of an answer that is not JSON
        raise ServiceUnavailable(f"What answers for Vault is not Vault, for {path}. Check VAULT_ADDR.") from other
    except hvac.exceptions.VaultDown as down:
        raise ServiceUnavailable(f"Vault cannot be asked for {path}: {down}. Check VAULT_ADDR.") from down
    except hvac.exceptions.VaultError as refused:
        raise ConfigurationError(
            f"Vault refuses {path}: {type(refused).__name__}. Check the path, VAULT_TOKEN and its policy."
        ) from None
    except requests.RequestException as lost:
        raise ServiceUnavailable(f"Vault cannot be asked for {path}: {lost}. Check VAULT_ADDR.") from lost


def _member(text: str, key: str, name: str) -> str:
    try:
        return str(json.loads(text)[key])
    except (ValueError, KeyError, TypeError):
        raise ConfigurationError(f"The secret {name} is no JSON object with the key {key!r}. Correct either.") from None


_READERS: dict[str, Callable[[str], str]] = {"file": _from_file, "aws-secretsmanager": _from_aws, "vault": _from_vault}
