"""Whether the service is well, and its metrics; asked without credentials, from inside the network."""

from __future__ import annotations

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from mindset.application import Installation
from mindset.catalog.schema_revision import is_migrated
from mindset.errors import MindsetError

router = APIRouter(tags=["health"])


@router.get(
    "/livez",
    summary="Is it alive?",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"example": "ok"}}}},
)
async def live() -> Response:
    """The process runs; said without a thread, which answers may all have taken."""
    return Response("ok", media_type="text/plain")


@router.get(
    "/readyz",
    summary="Can it answer?",
    response_model=dict[str, str],
    responses={
        200: {"content": {"application/json": {"example": {"postgres": "ok", "chroma": "ok", "redis": "ok"}}}},
        503: {
            "model": dict[str, str],
            "description": "Postgres is down, or its schema is older than this release",
            "content": {"application/json": {"example": {"postgres": "down", "chroma": "ok", "redis": "ok"}}},
        },
    },
)
async def ready(request: Request) -> JSONResponse:
    """Whether questions can be answered: not without Postgres and this release's schema in it. Without Chroma they are, from
    the full text, and say `degraded`; without Redis they are, from no cache.

    Model providers are listed as `ok` or `degraded`; one that is down makes no instance less ready than another."""
    state = request.app.state
    found = await to_thread.run_sync(_probe, state.installation, limiter=state.probes)
    return JSONResponse(found, 200 if found["postgres"] == "ok" else 503)


@router.get("/metrics", summary="Metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """Prometheus metrics of this process."""
    return Response(request.app.state.metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _probe(installation: Installation) -> dict[str, str]:
    found: dict[str, str] = {}
    try:
        with installation.catalog.autocommit_reading() as connection:
            found["postgres"] = "ok" if is_migrated(connection) else "not migrated"
    except MindsetError:
        found["postgres"] = "down"
    try:
        installation.vectors.ping()
        found["chroma"] = "ok"
    except MindsetError:
        found["chroma"] = "degraded"
    if installation.redis:
        found["redis"] = "ok" if installation.redis.execute(lambda redis: redis.ping()) else "degraded"
    for each in installation.generators.states:
        found[each.name] = "ok" if each.breaker == "closed" else "degraded"
    return found
