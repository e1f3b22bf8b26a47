"""Health checks and metrics; they need no credentials, so expose them only inside the network."""

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
    """The process is running. Needs no worker thread, since answers may occupy all of them."""
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
    """Whether questions can be answered, which needs Postgres with this release's schema.

    Without Chroma they are answered from full-text search and report `degraded`; without Redis, no cache is used. Model
    providers are `ok` or `degraded`; they do not affect the status, since all instances use the same ones."""
    state = request.app.state
    checks = await to_thread.run_sync(_probe, state.installation, limiter=state.probes)
    return JSONResponse(checks, 200 if checks["postgres"] == "ok" else 503)


@router.get("/metrics", summary="Metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """Prometheus metrics of this process."""
    return Response(request.app.state.metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _probe(installation: Installation) -> dict[str, str]:
    checks: dict[str, str] = {}
    try:
        with installation.catalog.autocommit_reading() as connection:
            checks["postgres"] = "ok" if is_migrated(connection) else "not migrated"
    except MindsetError:
        checks["postgres"] = "down"
    try:
        installation.vectors.ping()
        checks["chroma"] = "ok"
    except MindsetError:
        checks["chroma"] = "degraded"
    if installation.redis:
        checks["redis"] = "ok" if installation.redis.execute(lambda redis: redis.ping()) else "degraded"
    for state in installation.generators.states:
        checks[state.name] = "ok" if state.breaker == "closed" else "degraded"
    return checks
