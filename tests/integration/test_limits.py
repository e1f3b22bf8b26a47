"""Rate limits of callers and addresses over real HTTP, shared between processes through Redis."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import httpx
import pytest
from pydantic import SecretStr

from api.app import create_app
from api.middleware.rate_limits import RateLimits
from mindset.application import Installation
from mindset.config.scopes import Scope
from mindset.config.settings import Settings
from mindset.errors import ConfigurationError, TooManyRequests
from mindset.redis import RedisClient
from tests.integration.test_access import PEPPER, bearer, make_key
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
    limits.check_address(unique_name())
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


def test_address_with_too_many_rejections_is_blocked_in_all_processes(
    limited_settings: SettingsWithLimits, valkey: RedisClient
) -> None:
    settings, address = limited_settings(rate_limit_rejected="3/minute"), unique_name()
    one, other = (RateLimits(settings, valkey) for _ in range(2))
    for _ in range(3):
        one.check_address(address)
        one.count_rejection(address)
    with pytest.raises(TooManyRequests) as error:
        one.check_address(address)
    assert 1 <= error.value.retry_after_s <= 60
    other.check_address(address)  # this process has rejected no request yet, so it does not query Redis
    other.count_rejection(address)
    with pytest.raises(TooManyRequests):
        other.check_address(address)


def test_valid_key_is_rejected_after_too_many_invalid_ones_from_its_address(
    limited_settings: SettingsWithLimits, installation: Installation
) -> None:
    address = forwarded_for(f"10.{uuid.uuid4().int % 250}.{uuid.uuid4().int % 250}.8")
    key = bearer(make_key(installation, Scope.READ))
    with api_at(limited_settings(rate_limit_rejected="3/minute")) as url:
        codes = [
            httpx.get(f"{url}/v1/knowledge-bases", headers=headers | address).status_code
            for headers in (*[bearer("wrong")] * 4, key)
        ]
        other_address = httpx.get(f"{url}/v1/knowledge-bases", headers=key | forwarded_for("10.255.255.2")).status_code
    assert codes == [401, 401, 401, 429, 429]
    assert other_address == 200


@pytest.mark.parametrize("setting", ["rate_limit", "rate_limit_address", "rate_limit_rejected"])
def test_invalid_limit_prevents_the_start_of_the_api(limited_settings: SettingsWithLimits, setting: str) -> None:
    with pytest.raises(ConfigurationError, match=f"MINDSET_{setting.upper()}"):
        create_app(limited_settings(**{setting: "often"}))


def test_empty_limit_disables_rate_limiting(limited_settings: SettingsWithLimits) -> None:
    limits = RateLimits(limited_settings(rate_limit=""), None)
    assert not limits.enabled
    assert limits.count("caller", "10.0.0.1").quotas == ()
