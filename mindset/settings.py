"""Settings of an installation, read from the environment (`MINDSET_...`) or a `.env` file, once, at the entry point."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, AliasChoices, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from mindset.errors import ConfigurationError

# Made absolute once: children of this process run elsewhere.
_Here = Annotated[Path, AfterValidator(Path.absolute)]


class Settings(BaseSettings):
    """Every variable is described by its field; `docs/reference/settings.md` lists them."""

    model_config = SettingsConfigDict(
        env_prefix="MINDSET_", env_file=".env", extra="ignore", use_attribute_docstrings=True, frozen=True
    )

    directory: _Here = Path(".mindset")
    """Where the local stack keeps its servers' data, logs and addresses; relative to the current directory."""

    knowledge_bases: _Here = Path("knowledge_bases")
    """Folder of the YAML files that define knowledge bases; relative to the current directory."""

    postgres_url: SecretStr | None = None
    """`postgresql://user:password@host:5432/database` of the catalog. Unset: the local stack's."""

    chroma_url: str | None = None
    """`http://host:8000` of the Chroma server. Unset: the local stack's."""

    redis_url: SecretStr | None = None
    """`redis://host:6379/0` of Redis or Valkey. Unset: the local stack's."""

    prefect_api_url: str | None = Field(
        default=None, validation_alias=AliasChoices("MINDSET_PREFECT_API_URL", "PREFECT_API_URL")
    )
    """`http://host:4200/api` of the Prefect server. Unset: the local stack's."""

    api_url: str | None = None
    """`http://host:8080` of the serving API. Unset: the local stack's."""

    api_host: str = "127.0.0.1"
    """Address that the serving API listens on."""

    api_port: int = Field(default=8080, ge=1, le=65_535)
    """Port that the serving API listens on."""

    answer_log: bool = True
    """Whether answers are logged in Postgres (without the question's text)."""

    postgres_pool_size: int = Field(default=8, ge=4, le=100)
    """Most connections that one process opens to Postgres; a stage uses up to three at a time."""

    nim_url: str = "https://integrate.api.nvidia.com/v1"
    """Base address of an NVIDIA NIM, up to and including `/v1`."""

    nim_api_key: SecretStr | None = None
    """Key of the hosted NIM; a NIM of your own needs none."""

    bedrock_region: str = "us-east-1"
    """AWS region of Bedrock; credentials come from boto3's usual chain."""

    bedrock_url: str | None = None
    """Another address of Bedrock's runtime, such as a VPC endpoint."""

    stages: Literal["inline", "deployments"] = "inline"
    """How a night runs its stages: as subflows of its own process, or as runs of their deployments."""

    rebuild_share: float = Field(default=1.0, gt=0, le=1)
    """Share of the time that a full rebuild beside a live version works, for another model or chunking; the rest it
    leaves the machines to questions. 0.5 takes about twice as long."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least severe level that is logged."""


def load_settings() -> Settings:
    """The settings of this process.

    Raises ConfigurationError naming each variable whose value is wrong."""
    try:
        return Settings()
    except ValidationError as wrong:
        faults = "; ".join(f"{_variable(error['loc'])}: {error['msg']}" for error in wrong.errors())
        raise ConfigurationError(f"Wrong settings: {faults}. Correct the variable or unset it.") from None


def _variable(location: tuple[int | str, ...]) -> str:
    name = str(location[0]) if location else "?"
    return name if name.isupper() else f"MINDSET_{name.upper()}"
