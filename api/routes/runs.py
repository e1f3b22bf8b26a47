"""Nights, started and watched through Prefect's REST API."""

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


# Whoever waits for the API waits for Prefect: much less than a command in a terminal would.
_PATIENCE_S = 5.0

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
    idempotency_key: Annotated[str | None, Header(max_length=200, description="The same key is the same night")] = None,
) -> RunOut:
    """Start a night; `Location` is where to watch it."""
    installation: Installation = request.app.state.installation
    name = visible_knowledge_base(installation, kb, caller).name
    parameters = {"kb": name, "allow_deletions": bool(body and body.allow_deletions)}
    key = hashlib.sha256(f"{caller.name} {name} {idempotency_key}".encode()).hexdigest() if idempotency_key else None
    with prefect(installation) as nights:
        try:
            run = nights.start(NIGHTLY, {"parameters": parameters}, key, f"{name}-night-{datetime.now(UTC).date()}")
        except ConfigurationError as undeployed:  # nothing that whoever asks, or this service, has set wrong
            raise ServiceUnavailable(str(undeployed)) from None
    response.headers["Location"] = f"/v1/nights/{run.id}"
    if run.replayed:
        response.headers["Idempotent-Replay"] = "true"
    return _run_out(run)


@router.get("/knowledge-bases/{kb}/nights", summary="List nights", responses=failures(UnknownKnowledgeBase))
def nights(kb: _Name, request: Request, caller: Operating) -> list[RunOut]:
    """The last nights of a knowledge base, the newest first."""
    installation: Installation = request.app.state.installation
    name = visible_knowledge_base(installation, kb, caller).name
    with prefect(installation) as opened:
        return [_run_out(each) for each in opened.newest(name)]


@router.get("/nights/{id}", summary="Watch a night", responses=failures(UnknownRun))
def night(
    id: Annotated[str, Path(max_length=100, description="As `Location` names it", examples=[EXAMPLE_ID])],  # noqa: A002
    request: Request,
    caller: Operating,
) -> NightOut:
    """How a night goes on, or how it went."""
    installation: Installation = request.app.state.installation
    with prefect(installation) as opened:
        run = night_of(installation, opened, id, caller)
        stages = opened.stages(run.id)
        percents = opened.progress([each.id for each in stages]) if stages else {}
        report = report_for(caller, opened, run)
    return NightOut(
        **_run_out(run).model_dump(),
        knowledge_base=run.kb or "",
        stages=[StageOut(**_run_out(each).model_dump(), percent=percents.get(each.id)) for each in stages],
        report=report,
    )


def prefect(installation: Installation) -> PrefectClient:
    """Prefect's REST API. Raises ServiceUnavailable where it has no address."""
    url = installation.settings.prefect_api_url
    if url is None:
        raise ServiceUnavailable("This service does not know Prefect. Set MINDSET_PREFECT_API_URL where the API runs.")
    return PrefectClient(url, _PATIENCE_S)


def report_for(caller: Caller, opened: PrefectClient, run: FlowRun) -> str | None:
    """A night's report, once it is over: it names documents and quotes questions, whoever may read those."""
    return opened.report(run.id) if run.ended and Scope.ADMIN in caller.scopes else None


def night_of(installation: Installation, opened: PrefectClient, id_: str, caller: Caller) -> FlowRun:
    """A night of a knowledge base that the caller sees. Raises UnknownRun, the same for those of others."""
    unknown = UnknownRun(f"There is no night {id_[:80]!r}. Its id is told when it is started.")
    try:
        run = opened.get(str(uuid.UUID(id_)))
    except ValueError:
        raise unknown from None
    try:
        seen = run.kb is not None and caller.sees(installation.knowledge_base(run.kb))
    except MindsetError:
        seen = False  # its definition is gone
    if not seen:
        raise unknown
    return run


def _run_out(run: FlowRun) -> RunOut:
    return RunOut(
        id=run.id, name=run.name, state=run.state, message=run.message, started_at=run.started_at, ended_at=run.ended_at
    )
