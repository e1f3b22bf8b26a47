"""Knowledge bases, releases, and whether the service is well."""

from __future__ import annotations

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from api.models import KnowledgeBaseOut, ReleaseOut, knowledge_base_out, release_out
from mindset.catalog.connection import scalar
from mindset.catalog.releases import list_releases
from mindset.catalog.versions import get_version
from mindset.errors import MindsetError
from mindset.installation import Installation
from mindset.knowledge_base import KnowledgeBase

router = APIRouter()


@router.get("/v1/knowledge-bases", tags=["knowledge bases"])
def knowledge_bases(request: Request) -> list[KnowledgeBaseOut]:
    """All knowledge bases, and what is live of each."""
    installation: Installation = request.app.state.installation
    return [_describe(installation, kb) for kb in installation.knowledge_bases()]


@router.get("/v1/knowledge-bases/{kb}", tags=["knowledge bases"])
def knowledge_base(kb: str, request: Request) -> KnowledgeBaseOut:
    """One knowledge base, and what is live of it."""
    installation: Installation = request.app.state.installation
    return _describe(installation, installation.knowledge_base(kb))


@router.get("/v1/knowledge-bases/{kb}/releases", tags=["knowledge bases"])
def releases(kb: str, request: Request) -> list[ReleaseOut]:
    """The newest releases first; the one without an end is live."""
    installation: Installation = request.app.state.installation
    definition = installation.knowledge_base(kb)
    with installation.catalog.reading() as connection:
        return [release_out(each) for each in list_releases(connection, definition.name)]


@router.get("/livez", tags=["health"], response_class=Response)
async def live() -> Response:
    """The process runs; said without a thread, which answers may all have taken."""
    return Response("ok", media_type="text/plain")


@router.get("/readyz", tags=["health"], response_model=dict[str, str], responses={503: {"model": dict[str, str]}})
async def ready(request: Request) -> JSONResponse:
    """Whether questions can be answered; without Chroma they can, from the full text, and the answers say `degraded`."""
    state = request.app.state
    found = await to_thread.run_sync(_probe, state.installation, limiter=state.probes)
    return JSONResponse(found, 503 if found["postgres"] == "down" else 200)


def _probe(installation: Installation) -> dict[str, str]:
    found: dict[str, str] = {}
    try:
        with installation.catalog.reading() as connection:
            scalar(connection, "SELECT 1")
        found["postgres"] = "ok"
    except MindsetError:
        found["postgres"] = "down"
    try:
        installation.vectors.ping()
        found["chroma"] = "ok"
    except MindsetError:
        found["chroma"] = "degraded"
    return found


@router.get("/metrics", tags=["health"], response_class=Response)
async def metrics(request: Request) -> Response:
    """Prometheus metrics of this process."""
    return Response(request.app.state.metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _describe(installation: Installation, kb: KnowledgeBase) -> KnowledgeBaseOut:
    with installation.catalog.reading() as connection:
        live = next(
            (each for each in list_releases(connection, kb.name) if each.channel == "live" and not each.until), None
        )
        version = get_version(connection, kb.name, live.version) if live else None
    return knowledge_base_out(kb, live, version.documents if version else None, version.chunks if version else None)
