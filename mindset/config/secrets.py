"""Secret references: a setting may name the place where its value is stored instead of containing it."""

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

_RETRY_DELAY_S = 30.0


class Secret:
    """The value of a setting; a reference is read again every `refresh_s` seconds. Thread-safe.

    `aws-secretsmanager:NAME[#key of its JSON]`, `vault:MOUNT/PATH#KEY` (KV version 2; VAULT_ADDR and VAULT_TOKEN from the
    environment), `file:/PATH`; anything else is the value itself."""

    def __init__(self, setting: str, setting_value: SecretStr, refresh_s: float = 300.0) -> None:
        self._setting, self._setting_value, self._refresh_s = setting, setting_value.get_secret_value(), refresh_s
        scheme, _, self._location = self._setting_value.partition(":")
        self._read = _READERS.get(scheme)
        self._lock = threading.Lock()
        self._value: str | None = None
        self._due = 0.0

    @property
    def is_reference(self) -> bool:
        """Whether the setting is a reference."""
        return self._read is not None

    def value(self) -> str:
        """Return the current value, or the last one read while the secret store is unavailable.

        Raises ConfigurationError or ServiceUnavailable if the value was never read."""
        if self._read is None:
            return self._setting_value
        if time.monotonic() < self._due and self._value is not None:
            return self._value
        # With a value at hand, do not wait for a thread that is already reading: a store may hang.
        if self._lock.acquire(blocking=self._value is None):
            try:
                if time.monotonic() >= self._due or self._value is None:
                    self._refresh(self._read)
            finally:
                self._lock.release()
        assert self._value is not None
        return self._value

    def _refresh(self, read: Callable[[str], str]) -> None:
        try:
            value = read(self._location)
            if not value.strip():
                raise ConfigurationError("The stored secret is empty. Store a value.")
            self._value = value
            self._due = time.monotonic() + self._refresh_s
        except (ConfigurationError, ServiceUnavailable) as error:
            if self._value is None:
                raise type(error)(f"{self._setting}: {error}") from None
            self._due = time.monotonic() + min(_RETRY_DELAY_S, self._refresh_s)
            _log.warning("secret not refreshed, keeping the last value", setting=self._setting, error=str(error))


def _from_file(location: str) -> str:
    try:
        return Path(location).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"The file {location} cannot be read: {error}. Mount it, or correct its path."
        ) from None


def _from_aws(location: str) -> str:
    import boto3.session
    import botocore.exceptions as boto
    from botocore.config import Config

    name, _, key = location.partition("#")
    try:
        # With boto3's default timeouts, an unresponsive store takes minutes.
        limits = Config(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 2})
        client = boto3.session.Session().client("secretsmanager", config=limits)
        text = str(client.get_secret_value(SecretId=name)["SecretString"])
    except boto.ClientError as refused:
        code = refused.response.get("Error", {}).get("Code", "an error")
        raise ConfigurationError(
            f"AWS Secrets Manager returned {code} for {name}. Check its name, and allow secretsmanager:GetSecretValue on it."
        ) from None
    except (boto.BotoCoreError, KeyError) as lost:
        raise ServiceUnavailable(
            f"AWS Secrets Manager cannot be reached for {name}: {lost}. Check region and credentials."
        ) from lost
    return _member(text, key, name) if key else text


def _from_vault(location: str) -> str:
    import hvac
    import requests

    path, _, key = location.partition("#")
    mount, _, rest = path.strip("/").partition("/")
    if not (rest and key):
        raise ConfigurationError(f"{location!r} is not a location in Vault. Write vault:MOUNT/PATH#KEY.")
    try:
        secret = hvac.Client(timeout=5).secrets.kv.v2.read_secret_version(
            path=rest, mount_point=mount, raise_on_deleted_version=True
        )
        return str(secret["data"]["data"][key])
    except KeyError:
        raise ConfigurationError(f"{path} in Vault has no key {key!r}. Add it, or name another.") from None
    except TypeError as other:  # raised if the response is not JSON
        raise ServiceUnavailable(f"The server that should return {path} is not Vault. Check VAULT_ADDR.") from other
    except hvac.exceptions.VaultDown as down:
        raise ServiceUnavailable(f"Vault cannot be reached for {path}: {down}. Check VAULT_ADDR.") from down
    except hvac.exceptions.VaultError as refused:
        raise ConfigurationError(
            f"Vault rejected the request for {path}: {type(refused).__name__}. Check the path, VAULT_TOKEN and its policy."
        ) from None
    except requests.RequestException as lost:
        raise ServiceUnavailable(f"Vault cannot be reached for {path}: {lost}. Check VAULT_ADDR.") from lost


def _member(text: str, key: str, name: str) -> str:
    try:
        return str(json.loads(text)[key])
    except (ValueError, KeyError, TypeError):
        raise ConfigurationError(
            f"The secret {name} is not a JSON object with the key {key!r}. Correct one of them."
        ) from None


_READERS: dict[str, Callable[[str], str]] = {"file": _from_file, "aws-secretsmanager": _from_aws, "vault": _from_vault}
