"""Health checks of the servers, each in the server's protocol."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import psycopg
import redis

from local_stack import loopback
from local_stack.addresses import Addresses

_TIMEOUT_S: Final = 2
_Check = Callable[[Addresses], bool]


def is_healthy(server: str, addresses: Addresses, since: float = 0) -> bool:
    """Return whether the server answers now.

    A worker has no address; it is healthy if Prefect got a heartbeat from it after `since` (seconds since the epoch)."""
    if server.startswith("worker-"):
        return _worker(addresses.prefect_api_url, server.removeprefix("worker-"), since)
    return _CHECKS[server](addresses)


def worker_name(pool: str) -> str:
    """Return the name under which the stack's worker of a pool registers with Prefect."""
    return f"local-{pool}"


def _postgres(url: str | None) -> bool:
    if url is None:
        return False
    try:
        with psycopg.connect(url, connect_timeout=_TIMEOUT_S) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    except psycopg.Error:
        return False


def _valkey(url: str | None) -> bool:
    if url is None:
        return False
    try:
        with redis.Redis.from_url(url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def _worker(api: str | None, pool: str, since: float) -> bool:
    if api is None:
        return False
    status, workers = loopback.send_to_prefect("POST", f"{api}/work_pools/{pool}/workers/filter", {})
    return status == 200 and any(
        worker["name"] == worker_name(pool)
        and worker["status"] == "ONLINE"
        # Prefect shows a killed worker as online for a while, so an earlier heartbeat does not count.
        and datetime.fromisoformat(worker["last_heartbeat_time"]) > datetime.fromtimestamp(since, UTC)
        for worker in workers
    )


def _http(url: str | None, path: str) -> bool:
    return url is not None and loopback.status(url.rstrip("/") + path) == 200


_CHECKS: Final[dict[str, _Check]] = {
    "postgres": lambda addresses: _postgres(addresses.postgres_url),
    "valkey": lambda addresses: _valkey(addresses.redis_url),
    "chroma": lambda addresses: _http(addresses.chroma_url, "/api/v2/heartbeat"),
    "prefect": lambda addresses: _http(addresses.prefect_api_url, "/health"),
    "api": lambda addresses: _http(addresses.api_url, "/livez"),
}
