"""Settings of an installation, read from the environment (`MINDSET_...`) or a `.env` file, once, at the entry point."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from mindset.access.caller import Scope
from mindset.errors import ConfigurationError

# Made absolute once: children of this process run elsewhere.
_Here = Annotated[Path, AfterValidator(Path.absolute)]


class Flags(BaseModel):
    """What is switched for everybody, where no other provider of flags is set."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    provider_route: Literal["extractive", "nim", "bedrock"] | None = Field(default=None, alias="provider-route")
    rerank: bool = True
    judge: bool = True


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

    api_key: SecretStr | None = None
    """Key that `mindset ask` and `mindset search` send to the serving API, where it asks for one."""

    api_host: str = "127.0.0.1"
    """Address that the serving API listens on."""

    api_port: int = Field(default=8080, ge=1, le=65_535)
    """Port that the serving API listens on."""

    api_access: Literal["open", "required"] = "open"
    """`required`: every request but health and metrics needs an API key or a token. `open`, on a loopback address only:
    whoever reaches the API may do everything, and reads what everybody may read."""

    api_key_pepper: SecretStr | None = None
    """What API keys are hashed with, at least 32 characters; without it there are no keys. Another one makes all of
    them useless. May be a reference."""

    oidc_issuer: str | None = None
    """Issuer of the tokens that count, as it stands in their `iss`; unset: none do."""

    oidc_audience: str | None = None
    """What tokens must name in `aud`."""

    oidc_jwks_url: str | None = None
    """Where the issuer's keys are; unset: where its discovery document says."""

    oidc_algorithms: tuple[
        Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"], ...
    ] = (
        "RS256",
        "ES256",
    )
    """Algorithms that tokens may be signed by, as JSON."""

    oidc_principals_claim: str = "groups"
    """Claim whose values are the caller's principals, besides `user:` and the subject."""

    oidc_scopes_claim: str = "scope"
    """Claim whose values are the caller's scopes."""

    oidc_roles: dict[str, tuple[Scope, ...]] = {}
    """Scopes of those who have a principal, as JSON: `{"data-team": ["ask", "release"]}`."""

    secrets_refresh_s: float = Field(default=300.0, ge=1)
    """How often a secret that is given by reference is read again."""

    rate_limit: str = "600/minute"
    """How often one caller may ask, where access is required: a number and `second`, `minute`, `hour` or `day`. Empty: as
    often as it likes."""

    rate_limit_address: str | None = None
    """How often one address may ask, whoever asks from it, also where access is open."""

    rate_limit_refused: str = "20/minute"
    """How often one address may be refused for its credentials, before it is not listened to."""

    trusted_proxies: str = "127.0.0.1"
    """Addresses or networks, by commas, of the proxies whose X-Forwarded-For tells who asks."""

    cache_ttl_s: int = Field(default=3_600, ge=0)
    """How long searches and answers are kept in Redis; 0: not at all."""

    conversation_ttl_s: int = Field(default=86_400, ge=1)
    """How long a conversation is remembered after its last question."""

    api_streams: int = Field(default=1_000, ge=1, le=10_000)
    """Most answers that one process has in the making; beyond them it says 503 with `Retry-After`."""

    shutdown_grace_s: float = Field(default=20.0, ge=3, le=600)
    """How long a process that is told to end goes on with the answers that it has begun; streams that are not over
    shortly before are ended by an event that says so."""

    mcp_hosts: str | None = None
    """Names, separated by commas, under which `/mcp` may be reached (`mcp.example.com`, `10.0.0.7:*`); `*`: under any.
    Unset: the loopback's names, `api_host`, and the name in `api_url`."""

    flags: Flags = Flags()
    """Feature flags, as JSON, such as `{"provider-route": "bedrock", "rerank": false}`."""

    otlp_endpoint: str | None = None
    """`http://host:4318` of an OpenTelemetry collector, which traces are sent to. Unset: nothing is traced."""

    trace_share: float = Field(default=1.0, ge=0, le=1)
    """Share of the requests that are traced, where whoever asks has not decided."""

    answer_log: bool = True
    """Whether answers are logged in Postgres (without the question's text)."""

    prices: dict[str, tuple[float, float]] = {}
    """Dollars for a million tokens in and out by generator, as JSON, for the metric of cost: `{"nim:...": [0.1, 0.3]}`."""

    answer_log_days: int = Field(default=90, ge=1)
    """How long answers stay in the log; older days are dropped, and the feedback on them."""

    answer_log_share: float = Field(default=1.0, ge=0, le=1)
    """Share of the answers that are logged, chosen by chance."""

    log_questions: bool = False
    """Whether questions' texts stand in the answer log, in log lines and in traces."""

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

    provider_concurrency: int = Field(default=64, ge=1, le=10_000)
    """Most answers that one process asks of one model at a time: a model that many ask at once makes all of them wait."""

    provider_queue: int = Field(default=64, ge=0, le=10_000)
    """How many more wait for their turn; beyond them the next of the route is asked, else 503 with `Retry-After`."""

    first_token_s: float = Field(default=20.0, gt=0, le=600)
    """Longest wait for a model's first word, with queue, retries and reasoning."""

    between_tokens_s: float = Field(default=15.0, gt=0, le=600)
    """Longest silence of a model that has begun to answer."""

    model_check: Literal["off", "listed", "asked"] = "listed"
    """What is asked of models when the API starts, to warn of those that are retired or not allowed. `listed`: a NIM, for
    the models it serves. `asked`: besides, each Bedrock model, for one token, which costs a fraction of a cent."""

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
