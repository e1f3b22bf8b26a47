"""Settings of an installation, read once at the entry point from the environment (`MINDSET_...`) or a `.env` file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from dotenv import dotenv_values
from pydantic import AfterValidator, AliasChoices, BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from mindset.config.scopes import Scope
from mindset.errors import ConfigurationError

# Made absolute, since child processes run in other directories.
_AbsolutePath = Annotated[Path, AfterValidator(Path.absolute)]


RENAMED = {
    "MINDSET_API_STREAMS": "MINDSET_API_MAX_ANSWERS",
    "MINDSET_ANSWER_LOG_SHARE": "MINDSET_ANSWER_LOG_SAMPLE_RATE",
    "MINDSET_BETWEEN_TOKENS_S": "MINDSET_INTER_TOKEN_TIMEOUT_S",
    "MINDSET_FIRST_TOKEN_S": "MINDSET_FIRST_TOKEN_TIMEOUT_S",
    "MINDSET_RATE_LIMIT_REFUSED": "MINDSET_RATE_LIMIT_REJECTED",
    "MINDSET_REBUILD_SHARE": "MINDSET_REBUILD_DUTY_CYCLE",
    "MINDSET_TRACE_SHARE": "MINDSET_TRACE_SAMPLE_RATE",
}
"""Variables of earlier releases and their new names: ignoring an old one silently would change behaviour."""


class Flags(BaseModel):
    """Feature flags for all callers, unless another flag provider is set."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    provider_route: Literal["extractive", "nim", "bedrock"] | None = Field(default=None, alias="provider-route")
    rerank: bool = True
    judge: bool = True


class Settings(BaseSettings):
    """Each field describes its variable; `docs/reference/settings.md` lists them all."""

    model_config = SettingsConfigDict(
        env_prefix="MINDSET_", env_file=".env", extra="ignore", use_attribute_docstrings=True, frozen=True
    )

    directory: _AbsolutePath = Path(".mindset")
    """Directory of the local stack's data, logs and addresses; relative to the current directory."""

    knowledge_bases: _AbsolutePath = Path("knowledge_bases")
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
    """Key that `mindset ask` and `mindset search` send to the serving API if it requires one."""

    api_host: str = "127.0.0.1"
    """Address that the serving API listens on."""

    api_port: int = Field(default=8080, ge=1, le=65_535)
    """Port that the serving API listens on."""

    api_access: Literal["open", "required"] = "open"
    """`required`: every request except health checks and metrics needs an API key or a token. `open`, only allowed on a
    loopback address: every client may do everything, and reads what everyone may read."""

    api_key_pepper: SecretStr | None = None
    """Secret that API keys are hashed with, at least 32 characters. Without it there are no keys; changing it invalidates
    all of them. May be a secret reference."""

    oidc_issuer: str | None = None
    """Issuer whose tokens are accepted, as in their `iss` claim. Unset: no tokens are accepted."""

    oidc_audience: str | None = None
    """Required value of the tokens' `aud` claim."""

    oidc_jwks_url: str | None = None
    """URL of the issuer's keys. Unset: taken from its discovery document."""

    oidc_algorithms: tuple[
        Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"], ...
    ] = (
        "RS256",
        "ES256",
    )
    """Accepted signature algorithms, as JSON."""

    oidc_principals_claim: str = "groups"
    """Claim with the caller's principals, in addition to `user:` followed by the subject."""

    oidc_scopes_claim: str = "scope"
    """Claim with the caller's scopes."""

    oidc_roles: dict[str, tuple[Scope, ...]] = {}
    """Scopes that a principal grants, as JSON: `{"data-team": ["ask", "release"]}`."""

    secrets_refresh_s: float = Field(default=300.0, ge=1)
    """Interval at which secret references are read again, in seconds."""

    rate_limit: str = "600/minute"
    """Request limit per caller if access is required: a number and `second`, `minute`, `hour` or `day`. Empty: no limit."""

    rate_limit_address: str | None = None
    """Request limit per client address, also if access is open."""

    rate_limit_rejected: str = "20/minute"
    """Limit of requests with invalid credentials, per credential prefix and client address; valid ones are not affected."""

    trusted_proxies: str = "127.0.0.1"
    """Addresses or networks of proxies whose X-Forwarded-For header is trusted, separated by commas."""

    version_index_bytes: int = Field(default=2_000_000_000, ge=0)
    """Memory for the words of versions, in bytes; about 600 per chunk. Those not searched for longest are forgotten, and
    loaded again when they are."""

    cache_ttl_s: int = Field(default=3_600, ge=0)
    """How long search results and answers are cached in Redis, in seconds; 0 disables the cache."""

    conversation_ttl_s: int = Field(default=86_400, ge=1)
    """How long a conversation is kept after its last question, in seconds."""

    api_max_answers: int = Field(default=1_000, ge=1, le=10_000)
    """Maximum number of answers in progress per process; beyond it the API responds with 503 and `Retry-After`."""

    shutdown_grace_s: float = Field(default=20.0, ge=3, le=600)
    """How long a terminating process continues the answers in progress, in seconds. Shortly before the end, remaining
    streams are closed with an error event."""

    mcp_hosts: str | None = None
    """Allowed `Host` names of `/mcp`, separated by commas (`mcp.example.com`, `10.0.0.7:*`); `*` allows any.
    Unset: the loopback names, `api_host`, and the host of `api_url`."""

    flags: Flags = Flags()
    """Feature flags, as JSON, such as `{"provider-route": "bedrock", "rerank": false}`."""

    otlp_endpoint: str | None = None
    """`http://host:4318` of an OpenTelemetry collector that receives traces. Unset: no tracing."""

    trace_sample_rate: float = Field(default=1.0, ge=0, le=1)
    """Fraction of requests to trace, unless the caller's `traceparent` decides."""

    answer_log: bool = True
    """Whether answers are logged in Postgres, without the text of the question."""

    prices: dict[str, tuple[float, float]] = {}
    """US dollars per million input and output tokens by generator, as JSON, for the cost metric: `{"nim:...": [0.1, 0.3]}`."""

    answer_log_days: int = Field(default=90, ge=1)
    """How many days answers stay in the log; older ones are deleted together with their feedback."""

    question_metrics_days: int = Field(default=90, ge=1)
    """How many days the metrics of single golden questions are kept; the evaluation itself is kept longer."""

    history_days: int = Field(default=365, ge=1)
    """How many days retired versions, their evaluations and releases, and revoked or expired API keys are kept."""

    audit_days: int = Field(default=730, ge=1)
    """How many days entries of the audit log are kept."""

    answer_log_sample_rate: float = Field(default=1.0, ge=0, le=1)
    """Fraction of answers to log, sampled at random."""

    log_questions: bool = False
    """Whether the answer log, log lines and traces contain the text of questions."""

    postgres_pool_size: int = Field(default=8, ge=4, le=100)
    """Maximum number of Postgres connections per process; a stage uses up to three at a time."""

    nim_url: str = "https://integrate.api.nvidia.com/v1"
    """Base address of an NVIDIA NIM, up to and including `/v1`."""

    nim_api_key: SecretStr | None = None
    """Key of the hosted NIM; a self-hosted NIM needs none."""

    bedrock_region: str = "us-east-1"
    """AWS region of Bedrock. Credentials come from boto3's usual chain."""

    bedrock_url: str | None = None
    """URL of Bedrock's runtime if it is not the region's default, such as a VPC endpoint."""

    provider_concurrency: int = Field(default=64, ge=1, le=10_000)
    """Maximum number of concurrent requests per process and model: an overloaded model delays all of them."""

    provider_queue: int = Field(default=64, ge=0, le=10_000)
    """Maximum number of requests that wait for a free slot; beyond it the fallback is used, or else the API responds with
    503 and `Retry-After`."""

    first_token_timeout_s: float = Field(default=20.0, gt=0, le=600)
    """Timeout for a model's first token, including queueing, retries and reasoning, in seconds."""

    inter_token_timeout_s: float = Field(default=15.0, gt=0, le=600)
    """Timeout between two tokens of a model, in seconds."""

    model_check: Literal["off", "list", "invoke"] = "list"
    """How models are checked when the API starts, to warn of retired or forbidden ones. `list`: ask a NIM which models it
    serves. `invoke`: also request one token from each Bedrock model, which costs a fraction of a cent."""

    stages: Literal["inline", "deployments"] = "inline"
    """How a night runs its stages: as subflows in its own process, or as runs of their deployments."""

    rebuild_duty_cycle: float = Field(default=1.0, gt=0, le=1)
    """Fraction of the time that a full rebuild works while another version is live; it pauses for the rest, which leaves
    the machines to questions. With 0.5 a rebuild takes about twice as long."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Minimum log level."""


def load_settings() -> Settings:
    """Read the settings of this process.

    Raises ConfigurationError naming each variable that is invalid or was renamed."""
    variables = {*os.environ, *dotenv_values(".env")}
    renamed = [f"{old} is now {new}" for old, new in RENAMED.items() if old in variables]
    if renamed:
        raise ConfigurationError(f"Renamed settings: {'; '.join(renamed)}. Set the new variable and unset the old one.")
    try:
        return Settings()
    except ValidationError as invalid:
        problems = "; ".join(f"{_variable(error['loc'])}: {error['msg']}" for error in invalid.errors())
        raise ConfigurationError(f"Invalid settings: {problems}. Correct the variable or unset it.") from None


def _variable(location: tuple[int | str, ...]) -> str:
    name = str(location[0]) if location else "?"
    return name if name.isupper() else f"MINDSET_{name.upper()}"
