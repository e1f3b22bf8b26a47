"""Limits of callers and addresses: over real HTTP, shared by processes through Redis."""

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

Limited = Callable[..., Settings]


@pytest.fixture
def limited(settings: Settings) -> Limited:
    """Settings with limits, where access is required."""

    def of(**limits: object) -> Settings:
        return settings.model_copy(update={"api_access": "required", "api_key_pepper": SecretStr(PEPPER)} | limits)

    return of


@pytest.fixture
def valkey(settings: Settings) -> RedisClient:
    assert settings.redis_url
    return RedisClient(settings.redis_url.get_secret_value())


def somebody() -> str:
    """Nobody else's name: tests share a Redis."""
    return uuid.uuid4().hex


def from_(address: str) -> dict[str, str]:
    """The headers of a proxy on this machine, which is trusted."""
    return {"x-forwarded-for": address}


def test_processes_share_what_a_caller_may_ask(limited: Limited, valkey: RedisClient) -> None:
    settings, caller = limited(rate_limit="5/minute"), somebody()
    processes = [RateLimits(settings, valkey) for _ in range(2)]
    left = [processes[number % 2].count(caller, "10.0.0.1").quotas[0] for number in range(7)]
    assert [each.remaining for each in left] == [4, 3, 2, 1, 0, 0, 0]
    assert [each.allowed for each in left] == [True] * 5 + [False] * 2


def test_without_redis_each_process_counts_for_itself(limited: Limited) -> None:
    settings, caller = limited(rate_limit="5/minute"), somebody()
    for limits in (RateLimits(settings, None), RateLimits(settings, RedisClient("redis://127.0.0.1:9/0"))):
        assert [limits.count(caller, "10.0.0.1").quotas[0].allowed for _ in range(6)] == [True] * 5 + [False]


def test_counting_takes_one_round_trip_for_all_limits(limited: Limited, valkey: RedisClient) -> None:
    limits = RateLimits(limited(rate_limit_address="9/minute"), valkey)
    limits.count(somebody(), somebody())  # which loads the script
    before = valkey.execute(lambda client: client.info("stats")["total_reads_processed"])
    limits.check_address(somebody())
    limits.count(somebody(), somebody())
    after = valkey.execute(lambda client: client.info("stats")["total_reads_processed"])
    assert before and after
    assert after - before == 2  # and one of them asks for this number


def test_a_caller_is_told_what_is_left_also_when_it_is_nothing(limited: Limited, installation: Installation) -> None:
    headers = bearer(make_key(installation, Scope.READ))
    with api_at(limited(rate_limit="2/minute")) as url:
        told = [httpx.get(f"{url}/v1/knowledge-bases", headers=headers) for _ in range(3)]
    assert [each.status_code for each in told] == [200, 200, 429]
    assert [each.headers["ratelimit"].partition(";t=")[0] for each in told] == [
        '"default";r=1', '"default";r=0', '"default";r=0'
    ]  # fmt: skip
    assert {each.headers["ratelimit-policy"] for each in told} == {'"default";q=2;w=60'}
    assert 1 <= int(told[-1].headers["retry-after"]) <= 60
    assert told[-1].headers["content-type"] == "application/problem+json"


def test_an_address_is_limited_whoever_asks_from_it(limited: Limited, installation: Installation) -> None:
    keys = [bearer(make_key(installation, Scope.READ)) for _ in range(2)]
    address = f"10.{uuid.uuid4().int % 250}.{uuid.uuid4().int % 250}.7"
    with api_at(limited(rate_limit_address="3/minute")) as url:
        codes = [
            httpx.get(f"{url}/v1/knowledge-bases", headers=keys[number % 2] | from_(address)).status_code
            for number in range(4)
        ]
        other = httpx.get(f"{url}/v1/knowledge-bases", headers=keys[0] | from_("10.255.255.1"))
    assert codes == [200, 200, 200, 429]
    assert other.status_code == 200
    assert '"address";q=3;w=60' in other.headers["ratelimit-policy"]


def test_where_access_is_open_addresses_are_limited_only_if_asked_for(settings: Settings) -> None:
    with api_at(settings) as url:
        free = httpx.get(f"{url}/v1/knowledge-bases")
    assert (free.status_code, "ratelimit" in free.headers) == (200, False)
    address = f"10.{uuid.uuid4().int % 250}.{uuid.uuid4().int % 250}.9"
    with api_at(settings.model_copy(update={"rate_limit_address": "2/minute"})) as url:
        codes = [httpx.get(f"{url}/v1/knowledge-bases", headers=from_(address)).status_code for _ in range(3)]
        assert httpx.get(f"{url}/livez", headers=from_(address)).status_code == 200
    assert codes == [200, 200, 429]


def test_an_address_that_guesses_is_not_listened_to_by_any_process(limited: Limited, valkey: RedisClient) -> None:
    settings, address = limited(rate_limit_rejected="3/minute"), somebody()
    one, other = (RateLimits(settings, valkey) for _ in range(2))
    for _ in range(3):
        one.check_address(address)
        one.count_rejection(address)
    with pytest.raises(TooManyRequests) as told:
        one.check_address(address)
    assert 1 <= told.value.retry_after_s <= 60
    other.check_address(address)  # it has refused nobody yet, and so asks nobody
    other.count_rejection(address)
    with pytest.raises(TooManyRequests):
        other.check_address(address)


def test_the_right_key_is_not_listened_to_either_after_too_many_wrong_ones(
    limited: Limited, installation: Installation
) -> None:
    address = from_(f"10.{uuid.uuid4().int % 250}.{uuid.uuid4().int % 250}.8")
    key = bearer(make_key(installation, Scope.READ))
    with api_at(limited(rate_limit_rejected="3/minute")) as url:
        codes = [
            httpx.get(f"{url}/v1/knowledge-bases", headers=headers | address).status_code
            for headers in (*[bearer("wrong")] * 4, key)
        ]
        elsewhere = httpx.get(f"{url}/v1/knowledge-bases", headers=key | from_("10.255.255.2")).status_code
    assert codes == [401, 401, 401, 429, 429]
    assert elsewhere == 200


@pytest.mark.parametrize("setting", ["rate_limit", "rate_limit_address", "rate_limit_rejected"])
def test_a_limit_that_is_none_stops_the_process_at_its_start(limited: Limited, setting: str) -> None:
    with pytest.raises(ConfigurationError, match=f"MINDSET_{setting.upper()}"):
        create_app(limited(**{setting: "often"}))


def test_an_empty_limit_is_no_limit(limited: Limited) -> None:
    limits = RateLimits(limited(rate_limit=""), None)
    assert not limits.enabled
    assert limits.count("anybody", "10.0.0.1").quotas == ()
