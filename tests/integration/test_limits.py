"""Rate limits of callers and addresses over real HTTP, shared between processes through Redis."""

from __future__ import annotations

import ipaddress
import time
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from api.app import create_app
from api.middleware.rate_limits import RateLimits, network
from mindset.application import Installation
from mindset.auth.authentication import credential_prefix
from mindset.config.scopes import Scope
from mindset.config.settings import Settings
from mindset.errors import ConfigurationError, TooManyRequests
from mindset.redis import RedisClient
from tests.integration.test_access import PEPPER, bearer, make_key
from tests.providers.oidc import AUDIENCE, OidcIssuer
from tests.served import api_at

SettingsWithLimits = Callable[..., Settings]


@pytest.fixture
def limited_settings(settings: Settings) -> SettingsWithLimits:
    """Return a function that returns settings with required access and the given limits."""

    def settings_with(**limits: object) -> Settings:
        return settings.model_copy(update={"api_access": "required", "api_key_pepper": SecretStr(PEPPER)} | limits)

    return settings_with


@pytest.fixture
def valkey(settings: Settings) -> RedisClient:
    assert settings.redis_url
    namespace = unique_name()
    return RedisClient(settings.redis_url.get_secret_value(), lambda: namespace)


def unique_name() -> str:
    """Return a name that no other test uses, because tests share a Redis."""
    return uuid.uuid4().hex


def forwarded_for(address: str) -> dict[str, str]:
    """Return the headers that a proxy on this machine sends. Such a proxy is trusted."""
    return {"x-forwarded-for": address}


def test_processes_share_the_limit_of_a_caller(limited_settings: SettingsWithLimits, valkey: RedisClient) -> None:
    settings, caller = limited_settings(rate_limit="5/minute"), unique_name()
    processes = [RateLimits(settings, valkey) for _ in range(2)]
    quotas = [processes[number % 2].count(caller, "10.0.0.1").quotas[0] for number in range(7)]
    assert [quota.remaining for quota in quotas] == [4, 3, 2, 1, 0, 0, 0]
    assert [quota.allowed for quota in quotas] == [True] * 5 + [False] * 2


def test_every_process_counts_separately_without_redis(limited_settings: SettingsWithLimits) -> None:
    settings, caller = limited_settings(rate_limit="5/minute"), unique_name()
    for limits in (
        RateLimits(settings, None),
        RateLimits(settings, RedisClient("redis://127.0.0.1:9/0", lambda: "test")),
    ):
        assert [limits.count(caller, "10.0.0.1").quotas[0].allowed for _ in range(6)] == [True] * 5 + [False]


def test_counting_takes_one_round_trip_for_all_limits(
    limited_settings: SettingsWithLimits, valkey: RedisClient
) -> None:
    limits = RateLimits(limited_settings(rate_limit_address="9/minute"), valkey)
    limits.count(unique_name(), unique_name())  # loads the script
    before = valkey.execute(lambda client: client.info("stats")["total_reads_processed"])
    limits.count(unique_name(), unique_name())
    after = valkey.execute(lambda client: client.info("stats")["total_reads_processed"])
    assert before and after
    assert after - before == 2  # one of them reads this statistic


def test_remaining_quota_is_returned_even_if_it_is_exhausted(
    limited_settings: SettingsWithLimits, installation: Installation
) -> None:
    headers = bearer(make_key(installation, Scope.READ))
    with api_at(limited_settings(rate_limit="2/minute")) as url:
        responses = [httpx.get(f"{url}/v1/knowledge-bases", headers=headers) for _ in range(3)]
    assert [response.status_code for response in responses] == [200, 200, 429]
    assert [response.headers["ratelimit"].partition(";t=")[0] for response in responses] == [
        '"default";r=1', '"default";r=0', '"default";r=0'
    ]  # fmt: skip
    assert {response.headers["ratelimit-policy"] for response in responses} == {'"default";q=2;w=60'}
    assert 1 <= int(responses[-1].headers["retry-after"]) <= 60
    assert responses[-1].headers["content-type"] == "application/problem+json"


def test_address_limit_applies_to_all_keys_together(
    limited_settings: SettingsWithLimits, installation: Installation
) -> None:
    keys = [bearer(make_key(installation, Scope.READ)) for _ in range(2)]
    address = f"10.{uuid.uuid4().int % 250}.{uuid.uuid4().int % 250}.7"
    with api_at(limited_settings(rate_limit_address="3/minute")) as url:
        codes = [
            httpx.get(f"{url}/v1/knowledge-bases", headers=keys[number % 2] | forwarded_for(address)).status_code
            for number in range(4)
        ]
        other = httpx.get(f"{url}/v1/knowledge-bases", headers=keys[0] | forwarded_for("10.255.255.1"))
    assert codes == [200, 200, 200, 429]
    assert other.status_code == 200
    assert '"address";q=3;w=60' in other.headers["ratelimit-policy"]


def test_open_access_limits_addresses_only_if_configured(settings: Settings) -> None:
    with api_at(settings) as url:
        unlimited = httpx.get(f"{url}/v1/knowledge-bases")
    assert (unlimited.status_code, "ratelimit" in unlimited.headers) == (200, False)
    address = f"10.{uuid.uuid4().int % 250}.{uuid.uuid4().int % 250}.9"
    with api_at(settings.model_copy(update={"rate_limit_address": "2/minute"})) as url:
        codes = [httpx.get(f"{url}/v1/knowledge-bases", headers=forwarded_for(address)).status_code for _ in range(3)]
        assert httpx.get(f"{url}/livez", headers=forwarded_for(address)).status_code == 200
    assert codes == [200, 200, 429]


def test_rejections_of_all_processes_are_counted_together(
    limited_settings: SettingsWithLimits, valkey: RedisClient
) -> None:
    settings, address = limited_settings(rate_limit_rejected="3/minute"), unique_name()
    processes = [RateLimits(settings, valkey) for _ in range(2)]
    for number in range(3):
        processes[number % 2].count_rejection("token", address)
    for process in processes:
        with pytest.raises(TooManyRequests) as error:
            process.count_rejection("token", address)
        assert 1 <= error.value.retry_after_s <= 60
    processes[0].count_rejection("token", unique_name())
    processes[0].count_rejection("other", address)


@pytest.mark.parametrize("redis_is_up", [True, False])
def test_invalid_credentials_never_lock_out_valid_ones_from_the_same_address(
    limited_settings: SettingsWithLimits, installation: Installation, redis_is_up: bool
) -> None:
    address = forwarded_for(f"10.{uuid.uuid4().int % 250}.{uuid.uuid4().int % 250}.8")
    key = make_key(installation, Scope.READ)
    other = {} if redis_is_up else {"redis_url": SecretStr("redis://127.0.0.1:9/0")}
    guesses = ["wrong", f"{key[:-1]}!", f"{key[:15]}_{'A' * 43}", "pm_000000000000_" + "A" * 43, "a.b.c"]
    with api_at(limited_settings(rate_limit_rejected="3/minute", **other)) as url:

        def code(credentials: str) -> int:
            return httpx.get(f"{url}/v1/knowledge-bases", headers=bearer(credentials) | address).status_code

        for guess in guesses:
            codes = [code(guess) for _ in range(5)]
            assert codes[-2:] == [429, 429]
            assert code(key) == 200
        assert [code(key) for _ in range(5)] == [200] * 5


def test_expired_token_gets_401_whatever_others_send_from_the_address(limited_settings: SettingsWithLimits) -> None:
    address = forwarded_for(f"10.{uuid.uuid4().int % 250}.{uuid.uuid4().int % 250}.8")
    past = int(time.time()) - 3600
    with OidcIssuer() as issuer:
        settings = limited_settings(
            rate_limit_rejected="3/minute",
            oidc_issuer=issuer.url,
            oidc_audience=AUDIENCE,
        )
        with api_at(settings) as url:

            def code(credentials: str) -> int:
                return httpx.get(f"{url}/v1/knowledge-bases", headers=bearer(credentials) | address).status_code

            expired = issuer.token(exp=past)
            assert [code(expired) for _ in range(6)] == [401] * 6, "not counted"
            header, claims, signature = expired.split(".")
            forged = f"{header}.{claims}.{'A' * len(signature)}"
            assert [code(forged) for _ in range(5)] == [401] * 3 + [429] * 2
            assert code(expired) == 401
            wrong_claims: list[dict[str, Any]] = [{"aud": "other"}, {"iss": "https://other.example.com"}, {"sub": ""}]
            for wrong in wrong_claims:
                assert code(issuer.token(exp=past, **wrong)) == 429, wrong


def test_requests_without_credentials_are_not_counted_as_guesses(limited_settings: SettingsWithLimits) -> None:
    with api_at(limited_settings(rate_limit_rejected="1/minute")) as url:
        codes = [httpx.get(f"{url}/v1/knowledge-bases").status_code for _ in range(4)]
    assert codes == [401] * 4


def test_invented_credentials_and_addresses_of_a_network_create_few_counters(
    limited_settings: SettingsWithLimits, valkey: RedisClient
) -> None:
    limits = RateLimits(limited_settings(rate_limit_rejected="100000/minute", rate_limit_address="9/minute"), valkey)
    net = f"2001:db8:{uuid.uuid4().hex[:4]}:{uuid.uuid4().hex[:4]}"
    for number in range(200):
        limits.count_rejection(f"pm_{number:012}", f"{net}::{number:x}")
        limits.count("caller", f"{net}::{number:x}")
    keys = valkey.execute(lambda client, pattern: client.keys(pattern), "limit:*")
    assert keys
    normal = str(ipaddress.ip_network(f"{net}::/64")).encode()
    assert 1 < len([key for key in keys if normal in key]) <= 2 * 17


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("unknown", "unknown"),
        ("x" * 1_000, "x" * 64),
    ],
)
def test_addresses_are_counted_by_network(address: str, counted: str) -> None:
    assert network(address) == counted


@pytest.mark.parametrize(
    ("authorization", "prefix"),
    [
        ("Bearer pm_0123456789ab_secret", "pm_0123456789ab"),
        ("bearer pm_0123456789ab_other", "pm_0123456789ab"),
        ("Bearer eyJ.a.b", "token"),
        ("Basic abc", "other"),
        ("", "other"),
    ],
)
def test_prefix_of_a_credential_contains_no_secret(authorization: str, prefix: str) -> None:
    assert credential_prefix(authorization) == prefix


@pytest.mark.parametrize("setting", ["rate_limit", "rate_limit_address", "rate_limit_rejected"])
def test_invalid_limit_prevents_the_start_of_the_api(limited_settings: SettingsWithLimits, setting: str) -> None:
    with pytest.raises(ConfigurationError, match=f"MINDSET_{setting.upper()}"):
        create_app(limited_settings(**{setting: "often"}))


def test_empty_limit_disables_rate_limiting(limited_settings: SettingsWithLimits) -> None:
    limits = RateLimits(limited_settings(rate_limit=""), None)
    assert not limits.enabled
    assert limits.count("caller", "10.0.0.1").quotas == ()
