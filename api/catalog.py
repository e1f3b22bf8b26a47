"""Knowledge bases, their versions, and what of them is live."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Header, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api.access import Reading, Releasing, visible
from api.description import failures
from api.models import KnowledgeBaseName, KnowledgeBaseOut, ReleaseOut, knowledge_base_out, release_out
from api.paging import Cursor, Limit, Page, cursor_after, number_key
from mindset import releases as domain
from mindset.access.caller import Caller
from mindset.catalog.connection import READ_S, Connection
from mindset.catalog.documents import quarantined
from mindset.catalog.evaluations import newest_evaluation
from mindset.catalog.idempotency import Once
from mindset.catalog.passages import readable
from mindset.catalog.releases import list_releases, live_release
from mindset.catalog.versions import Version, difference, get_version, list_versions
from mindset.errors import (
    MindsetError,
    PreconditionFailed,
    RequestRejected,
    UnknownKnowledgeBase,
    UnknownVersion,
)
from mindset.installation import Installation
from mindset.knowledge_base import KnowledgeBase, fingerprint

router = APIRouter(prefix="/v1/knowledge-bases", tags=["knowledge bases"])

Name = Annotated[KnowledgeBaseName, Path(description="Name of the knowledge base", examples=["docs"])]
Number = Annotated[int, Path(ge=1, lt=2**31, description="Number of the version", examples=[1])]


class EvaluationOut(BaseModel):
    """How a version did on its golden set."""

    questions: int
    passed: bool
    reasons: list[str] = Field(description="Why the gate held it back")
    compared_with: int | None = Field(description="The version that was live then")
    metrics: dict[str, dict[str, float]] = Field(description="By slice, `all` among them")


class VersionOut(BaseModel):
    """What a build made."""

    number: int
    state: Literal["building", "ready", "rejected", "retired"]
    model: str = Field(description="What embedded its texts", examples=["wordllama:wordllama:256"])
    documents: int | None
    chunks: int | None = Field(examples=[1904])
    created_at: datetime
    ready_at: datetime | None


class VersionDetailOut(VersionOut):
    """A version, and how it was judged."""

    evaluation: EvaluationOut | None


class DifferenceOut(BaseModel):
    """What a version shows and another does not: of documents, those that you may read."""

    since: int | None = Field(description="The version compared with; null: with nothing", examples=[6])
    version: int
    documents_added: list[str]
    documents_changed: list[str]
    documents_removed: list[str]
    chunks_added: int
    chunks_removed: int


class QuarantinedOut(BaseModel):
    """A document that was set aside."""

    uri: str
    reason: str = Field(examples=["It has no text."])


class _ReleaseRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: str = Field(
        default="by the API", max_length=500, description="Kept with the release", examples=["wrong prices"]
    )


class Promotion(_ReleaseRequest):
    """Make a version live."""

    action: Literal["promote"] = Field(examples=["promote"])
    version: int = Field(ge=1, lt=2**31)


class WayBack(_ReleaseRequest):
    """Make live again what was live before."""

    action: Literal["roll_back"] = Field(examples=["roll_back"])


ReleaseRequest = Annotated[
    Promotion | WayBack,
    Body(
        discriminator="action",
        openapi_examples={
            "promote": {"value": {"action": "promote", "version": 7, "reason": "prices are right again"}},
            "roll back": {"value": {"action": "roll_back", "reason": "wrong prices"}},
        },
    ),
]


class DecisionOut(BaseModel):
    """What became of it."""

    version: int = Field(description="The version that is live now")
    replaces: int | None
    reasons: list[str]


def _failures(*errors: type[MindsetError], body: bool = False) -> dict[int | str, dict[str, Any]]:
    return failures(UnknownKnowledgeBase, *errors, body=body)


@router.get("", summary="List knowledge bases", responses=failures())
def knowledge_bases(request: Request, caller: Reading) -> list[KnowledgeBaseOut]:
    """All knowledge bases that are there for you, and what is live of each."""
    installation: Installation = request.app.state.installation
    return [describe(installation, kb) for kb in installation.knowledge_bases() if caller.sees(kb)]


@router.get("/{kb}", summary="Look at a knowledge base", responses=_failures())
def knowledge_base(kb: Name, request: Request, caller: Reading) -> KnowledgeBaseOut:
    """One knowledge base, and what is live of it."""
    installation: Installation = request.app.state.installation
    return describe(installation, visible(installation, kb, caller))


@router.get("/{kb}/versions", summary="List versions", responses=_failures(RequestRejected))
def versions(kb: Name, request: Request, caller: Reading, limit: Limit = 50, cursor: Cursor = None) -> Page[VersionOut]:
    """The versions that builds made, the newest first."""
    installation, name = _seen(request, kb, caller)
    with installation.catalog.reading(READ_S) as connection:
        found = list_versions(connection, name, limit + 1, number_key(cursor))
    items = [_version_out(each) for each in found[:limit]]
    return Page(items=items, next=cursor_after(items[-1].number) if len(found) > limit else None)


@router.get("/{kb}/versions/{number}", summary="Look at a version", responses=_failures(UnknownVersion))
def version(kb: Name, number: Number, request: Request, caller: Reading) -> VersionDetailOut:
    """One version, and how it was judged."""
    installation, name = _seen(request, kb, caller)
    with installation.catalog.reading(READ_S) as connection:
        found = _get_version(connection, name, number)
        judged = newest_evaluation(connection, name, number)
    evaluation = judged and EvaluationOut(
        questions=judged.questions,
        passed=judged.passed,
        reasons=list(judged.reasons),
        compared_with=judged.baseline,
        metrics=judged.metrics,
    )
    return VersionDetailOut(**_version_out(found).model_dump(), evaluation=evaluation)


@router.get("/{kb}/versions/{number}/difference", summary="Compare versions", responses=_failures(UnknownVersion))
def version_difference(
    kb: Name,
    number: Number,
    request: Request,
    caller: Reading,
    since: Annotated[
        int | None, Query(ge=1, lt=2**31, description="The version to compare with; left out: nothing")
    ] = None,
) -> DifferenceOut:
    """What a version shows and another does not."""
    installation, name = _seen(request, kb, caller)
    with installation.catalog.reading(READ_S) as connection:
        for each in (number, since or number):
            _get_version(connection, name, each)
        changes = difference(connection, name, since, number)
        listed = (changes.documents_added, changes.documents_changed, changes.documents_removed)
        may_read = readable(connection, name, caller.principals, [uri for uris in listed for uri in uris])
    added, changed, removed = ([uri for uri in uris if uri in may_read] for uris in listed)
    return DifferenceOut(
        since=since, version=number, documents_added=added, documents_changed=changed, documents_removed=removed,
        chunks_added=changes.chunks_added, chunks_removed=changes.chunks_removed,
    )  # fmt: skip


@router.get("/{kb}/quarantined", summary="List what was set aside", responses=_failures())
def quarantine(kb: Name, request: Request, caller: Reading) -> list[QuarantinedOut]:
    """Documents that could not be used and why, of those that you may read."""
    installation, name = _seen(request, kb, caller)
    with installation.catalog.reading(READ_S) as connection:
        aside = quarantined(connection, name)
        may_read = readable(connection, name, caller.principals, [uri for uri, _ in aside])
    return [QuarantinedOut(uri=uri, reason=reason) for uri, reason in aside if uri in may_read]


@router.get("/{kb}/releases", summary="List releases", responses=_failures(RequestRejected))
def releases(
    kb: Name, request: Request, response: Response, caller: Reading, limit: Limit = 50, cursor: Cursor = None
) -> Page[ReleaseOut]:
    """The newest releases first; the one without an end is live. `ETag` names it, for `If-Match` when you change it."""
    installation, name = _seen(request, kb, caller)
    with installation.catalog.reading(READ_S) as connection:
        found = list_releases(connection, name, limit + 1, number_key(cursor))
        live = live_release(connection, name)
    if live:
        response.headers["ETag"] = f'"{live}"'
    items = [release_out(each) for each in found[:limit]]
    return Page(items=items, next=cursor_after(items[-1].id) if len(found) > limit else None)


@router.post(
    "/{kb}/releases",
    status_code=201,
    summary="Promote or roll back",
    responses=_failures(UnknownVersion, PreconditionFailed, RequestRejected, body=True),
)
def release(
    kb: Name,
    body: ReleaseRequest,
    request: Request,
    response: Response,
    caller: Releasing,
    if_match: Annotated[
        str | None, Header(max_length=100, description="`ETag` of the releases: refused if another went live since")
    ] = None,
    idempotency_key: Annotated[
        str | None, Header(max_length=200, description="The same request with the same key is done once, for a week")
    ] = None,
) -> DecisionOut:
    """Promote a version, or roll back to what was live before. Your name is kept with the release."""
    installation, name = _seen(request, kb, caller)
    once = Once(caller.name, idempotency_key, fingerprint(name, body.model_dump())) if idempotency_key else None
    condition = domain.Condition(_expected(if_match), if_match is not None, once)
    reason = body.reason.replace("\0", "")
    match body:
        case Promotion():
            decision = domain.promote(
                installation.catalog, name, body.version, caller.name, reason, condition=condition
            )
        case WayBack():
            decision = domain.roll_back(installation.catalog, name, caller.name, reason, condition)
    installation.announce(name, decision.version)
    if decision.again:
        response.headers["Idempotent-Replay"] = "true"
    response.headers["Location"] = f"/v1/knowledge-bases/{name}/releases"
    return DecisionOut(version=decision.version, replaces=decision.replaces, reasons=list(decision.reasons))


def describe(installation: Installation, kb: KnowledgeBase) -> KnowledgeBaseOut:
    """A knowledge base, and what is live of it."""
    with installation.catalog.reading(READ_S) as connection:
        live = next(
            (each for each in list_releases(connection, kb.name) if each.channel == "live" and not each.until), None
        )
        version = get_version(connection, kb.name, live.version) if live else None
    return knowledge_base_out(kb, live, version.documents if version else None, version.chunks if version else None)


def _seen(request: Request, kb: str, caller: Caller) -> tuple[Installation, str]:
    installation: Installation = request.app.state.installation
    return installation, visible(installation, kb, caller).name


def _get_version(connection: Connection, kb: str, number: int) -> Version:
    found = get_version(connection, kb, number)
    if found is None:
        raise UnknownVersion(
            f"{kb} has no version {number}. `GET /v1/knowledge-bases/{kb}/versions` lists those it has."
        )
    return found


def _version_out(version: Version) -> VersionOut:
    return VersionOut.model_validate(asdict(version))


def _expected(if_match: str | None) -> frozenset[int] | None:
    """The releases that an If-Match header names; None: whichever is live. Raises RequestRejected."""
    if if_match is None or if_match.strip() == "*":
        return None
    tags = [each.strip().removeprefix("W/").strip('"') for each in if_match.split(",")]
    if not all(tag.isascii() and tag.isdigit() and len(tag) < 19 for tag in tags):
        raise RequestRejected(f"If-Match {if_match[:50]!r} is no ETag of releases. `GET .../releases` sends it.")
    return frozenset(map(int, tags))
