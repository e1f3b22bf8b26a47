"""Tests of deadlines and retries."""

from __future__ import annotations

import time
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from mindset.errors import ProviderRejected, ProviderUnavailable
from mindset.providers.deadline import Deadline, retry_after_s, retry_call, retry_until_first


def test_rejection_is_not_retried() -> None:
    calls: list[int] = []

    def call() -> None:
        calls.append(1)
        raise ProviderRejected("no")

    with pytest.raises(ProviderRejected):
        retry_call(call, Deadline(5))
    assert len(calls) == 1


@pytest.mark.parametrize("retry_after", [None, 0.0, 0.05, 0.25])
def test_retries_end_at_the_deadline(retry_after: float | None) -> None:
    calls: list[float] = []
    started = time.monotonic()
    deadline = Deadline(0.3)

    def call() -> None:
        calls.append(deadline.seconds_left())
        raise ProviderUnavailable("no", retry_after_s=retry_after)

    with pytest.raises(ProviderUnavailable):
        retry_call(call, deadline)
    assert time.monotonic() - started < 3
    assert 1 <= len(calls) <= 61


def test_no_retry_if_its_wait_would_exceed_the_deadline() -> None:
    started = time.monotonic()
    with pytest.raises(ProviderUnavailable, match="no"):
        retry_call(_throttled_for_a_minute, Deadline(30))
    assert time.monotonic() - started < 5


def _throttled_for_a_minute() -> None:
    raise ProviderUnavailable("no", retry_after_s=60)


def test_no_retry_after_the_first_item() -> None:
    attempts: list[int] = []

    def begin() -> Generator[int, None, None]:
        attempts.append(1)
        if len(attempts) == 1:
            raise ProviderUnavailable("not yet")
        yield 1
        raise ProviderUnavailable("now")

    items = retry_until_first(begin, Deadline(5))
    assert next(items) == 1
    with pytest.raises(ProviderUnavailable, match="now"):
        next(items)
    assert len(attempts) == 2


def test_retry_after_holds_seconds_or_a_date() -> None:
    assert retry_after_s("2.5") == 2.5
    assert retry_after_s("-1") == 0
    soon = retry_after_s(format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True))
    assert soon is not None
    assert 55 < soon <= 60
    assert retry_after_s(None) is retry_after_s("soon") is None
