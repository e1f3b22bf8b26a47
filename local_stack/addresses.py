"""The addresses of the servers, and how settings and child processes get them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from mindset.config.settings import Settings
from mindset.errors import StackError

Need = Literal["postgres", "chroma", "redis", "prefect", "api"]

FIELD: Final[dict[Need, str]] = {
    "postgres": "postgres_url",
    "chroma": "chroma_url",
    "redis": "redis_url",
    "prefect": "prefect_api_url",
    "api": "api_url",
}
_TITLE: Final[dict[Need, str]] = {
    "postgres": "Postgres",
    "chroma": "Chroma",
    "redis": "Valkey",
    "prefect": "Prefect",
    "api": "the API",
}


@dataclass(frozen=True)
class Addresses:
    """One address per server; None if the server is not part of the stack."""

    postgres_url: str | None = None
    chroma_url: str | None = None
    redis_url: str | None = None
    prefect_api_url: str | None = None
    api_url: str | None = None

    def filled_from(self, other: Addresses) -> Addresses:
        """Return these addresses, with missing ones taken from `other`."""
        defaults = asdict(other)
        return Addresses(**{field: address or defaults[field] for field, address in asdict(self).items()})


def configured_addresses(settings: Settings) -> Addresses:
    """Return the addresses in the settings. The stack does not start these servers."""
    return Addresses(
        postgres_url=settings.postgres_url.get_secret_value() if settings.postgres_url else None,
        chroma_url=settings.chroma_url,
        redis_url=settings.redis_url.get_secret_value() if settings.redis_url else None,
        prefect_api_url=settings.prefect_api_url,
        api_url=settings.api_url,
    )


def environment(
    addresses: Addresses, directory: Path | None = None, knowledge_bases: Path | None = None
) -> dict[str, str]:
    """Return environment variables for a child process or a flow: the addresses, and no usage statistics sent to vendors.

    Pass the stack's directory if the stack runs Prefect: results are stored under PREFECT_HOME, so all processes need
    the same one. `knowledge_bases` is the folder of the definitions."""
    variables = {f"MINDSET_{field.upper()}": url for field, url in asdict(addresses).items() if url is not None}
    variables |= {"ANONYMIZED_TELEMETRY": "False", "DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    variables["PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"] = "false"
    if addresses.prefect_api_url is not None:
        # Prefect's clients log the address, and authenticate WebSockets by the setting only.
        variables["PREFECT_API_URL"], user_and_password = without_password(addresses.prefect_api_url)
        if user_and_password:
            variables["PREFECT_API_AUTH_STRING"] = user_and_password
    if directory is not None:
        variables["MINDSET_DIRECTORY"] = str(directory.resolve())
        variables["PREFECT_HOME"] = str(directory.resolve() / "prefect")
    if knowledge_bases is not None:
        variables["MINDSET_KNOWLEDGE_BASES"] = str(knowledge_bases.absolute())
    return variables


def without_password(url: str) -> tuple[str, str | None]:
    """Return a URL without user and password, and these as `user:password`, or None."""
    parts = urlsplit(url)
    user_and_password, separator, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=host).geturl(), unquote(user_and_password) if separator else None


def with_addresses(settings: Settings, found: Addresses, needs: tuple[Need, ...]) -> Settings:
    """Return the settings with missing addresses taken from `found`.

    Raises StackError naming the first server in `needs` that has no address."""
    addresses = configured_addresses(settings).filled_from(found)
    for need in needs:
        if getattr(addresses, FIELD[need]) is None:
            raise StackError(
                f"No address for {_TITLE[need]}: it is not set, and no stack in {settings.directory} runs it. "
                f"Run `mindset up`, or set MINDSET_{FIELD[need].upper()}."
            )
    return settings.model_copy(
        update={
            "postgres_url": SecretStr(addresses.postgres_url) if addresses.postgres_url else None,
            "chroma_url": addresses.chroma_url,
            "redis_url": SecretStr(addresses.redis_url) if addresses.redis_url else None,
            "prefect_api_url": addresses.prefect_api_url,
            "api_url": addresses.api_url,
        }
    )
