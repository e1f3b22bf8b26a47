"""Where the servers answer, and how settings and child processes learn of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

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
    """One address a server; None where nobody needs one."""

    postgres_url: str | None = None
    chroma_url: str | None = None
    redis_url: str | None = None
    prefect_api_url: str | None = None
    api_url: str | None = None

    def filled_from(self, other: Addresses) -> Addresses:
        """These addresses, and the other's where these have none."""
        theirs = asdict(other)
        return Addresses(**{field: mine or theirs[field] for field, mine in asdict(self).items()})


def configured_addresses(settings: Settings) -> Addresses:
    """The addresses that the settings name: the stack does not start these servers."""
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
    """Variables that lead a child process, or a flow, to these servers and keep it from calling home.

    Give the stack's directory when Prefect is the stack's own: results persist under PREFECT_HOME, so whoever writes
    and whoever reads them must agree on it. `knowledge_bases` is the folder of definitions, wherever the child runs."""
    variables = {f"MINDSET_{field.upper()}": url for field, url in asdict(addresses).items() if url is not None}
    variables |= {"ANONYMIZED_TELEMETRY": "False", "DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    variables["PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"] = "false"
    if addresses.prefect_api_url is not None:
        variables["PREFECT_API_URL"] = addresses.prefect_api_url
    if directory is not None:
        variables["MINDSET_DIRECTORY"] = str(directory.resolve())
        variables["PREFECT_HOME"] = str(directory.resolve() / "prefect")
    if knowledge_bases is not None:
        variables["MINDSET_KNOWLEDGE_BASES"] = str(knowledge_bases.absolute())
    return variables


def with_addresses(settings: Settings, found: Addresses, needs: tuple[Need, ...]) -> Settings:
    """The settings with every unset address taken from `found`.

    Raises StackError naming the first needed server that has no address."""
    addresses = configured_addresses(settings).filled_from(found)
    for need in needs:
        if getattr(addresses, FIELD[need]) is None:
            raise StackError(
                f"No address for {_TITLE[need]}: no stack is running in {settings.directory} that has it. "
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
