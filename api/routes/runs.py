"""Nights: start and watch runs through Prefect's REST API."""

from __future__ import annotations

import hashlib
import uuid
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Header, Path, Request, Response

from api.dependencies import Operating, visible_knowledge_base
from api.openapi import failures
from api.schemas.common import KnowledgeBaseName
from api.schemas.runs import EXAMPLE_ID, NightOut, NightRequest, RunOut, StageOut
from mindset.application import Installation
from mindset.auth.caller import Caller
from mindset.config.scopes import Scope
from mindset.errors import (
    ConfigurationError,
    MindsetError,
    RequestRejected,
    ServiceUnavailable,
    UnknownKnowledgeBase,
    UnknownRun,
)
from mindset.pipeline.prefect_client import FlowRun, PrefectClient

router = APIRouter(prefix="/v1", tags=["nights"])

NIGHTLY = "nightly/nightly"


# Clients of the API wait for Prefect, so this is shorter than for a command in a terminal.
_PREFECT_TIMEOUT_S = 5.0

_Name = Annotated[KnowledgeBaseName, Path(description="Name of the knowledge base", examples=["docs"])]


@router.post(
    "/knowledge-bases/{kb}/nights",
    status_code=202,
    summary="Start a night",
    responses=failures(UnknownKnowledgeBase, RequestRejected, body=True),
)
def start_night(
    kb: _Name,
    request: Request,
    response: Response,
    caller: Operating,
    body: NightRequest | None = None,
    idempotency_key: Annotated[
        str | None, Header(max_length=200, description="A request repeated with the same key returns the same night")
    ] = None,
) -> RunOut:
    """Start a night. Watch it at the address in `Location`."""
    installation: Installation = request.app.state.installation
    name = visible_knowledge_base(installation, kb, caller).name
    parameters = {"kb": name, "allow_deletions": bool(body and body.allow_deletions)}
    key = hashlib.sha256(f"{caller.name} {name} {idempotency_key}".encode()).hexdigest() if idempotency_key else None
    with prefect(installation) as client:
        try:
            run = client.start(
                NIGHTLY, {"parameters": parameters}, key, f"{name}-night-{datetime.now(UTC):%Y-%m-%d-%H%M}"
            )
        except ConfigurationError as missing:  # not an error of the client or of this service's settings
            raise ServiceUnavailable(str(missing)) from None
    response.headers["Location"] = f"/v1/nights/{run.id}"
    if run.replayed:
        response.headers["Idempotent-Replay"] = "true"
    return _run_out(run)


@router.get("/knowledge-bases/{kb}/nights", summary="List nights", responses=failures(UnknownKnowledgeBase))
def nights(kb: _Name, request: Request, caller: Operating) -> list[RunOut]:
    """List the last nights of a knowledge base, newest first."""
    installation: Installation = request.app.state.installation
    name = visible_knowledge_base(installation, kb, caller).name
    with prefect(installation) as client:
        return [_run_out(run) for run in client.newest(name)]


@router.get("/nights/{id}", summary="Get a night", responses=failures(UnknownRun))
def night(
    id: Annotated[str, Path(max_length=100, description="As in `Location`", examples=[EXAMPLE_ID])],  # noqa: A002
    request: Request,
    caller: Operating,
) -> NightOut:
    """Get the state of a night and its stages."""
    installation: Installation = request.app.state.installation
    with prefect(installation) as client:
        run = get_night(installation, client, id, caller)
        stages = client.stages(run.id)
        percents = client.progress([stage.id for stage in stages]) if stages else {}
        report = report_for(caller, client, run)
    return NightOut(
        **_run_out(run).model_dump(),
        knowledge_base=run.kb or "",
        stages=[StageOut(**_run_out(stage).model_dump(), percent=percents.get(stage.id)) for stage in stages],
        report=report,
    )


def prefect(installation: Installation) -> PrefectClient:
    """Return a client of Prefect. Raises ServiceUnavailable if its address is not configured."""
    url = installation.settings.prefect_api_url
    if url is None:
        raise ServiceUnavailable("Prefect's address is not configured. Set MINDSET_PREFECT_API_URL where the API runs.")
    return PrefectClient(url, _PREFECT_TIMEOUT_S)


def report_for(caller: Caller, client: PrefectClient, run: FlowRun) -> str | None:
    """Return a finished night's report for administrators: it names documents that others may not read."""
    return client.report(run.id) if run.ended and Scope.ADMIN in caller.scopes else None


def get_night(installation: Installation, client: PrefectClient, id_: str, caller: Caller) -> FlowRun:
    """Return a night of a knowledge base that the caller may see. Raises UnknownRun, also for other knowledge bases."""
    unknown = UnknownRun(f"There is no night {id_[:80]!r}. Starting a night returns its id.")
    try:
        run = client.get(str(uuid.UUID(id_)))
    except ValueError:
        raise unknown from None
    try:
        visible = run.kb is not None and caller.sees(installation.knowledge_base(run.kb))
    except MindsetError:
        visible = False  # the definition no longer exists
    if not visible:
        raise unknown
    return run


def _run_out(run: FlowRun) -> RunOut:
    return RunOut(
        id=run.id, name=run.name, state=run.state, message=run.message, started_at=run.started_at, ended_at=run.ended_at
    )
