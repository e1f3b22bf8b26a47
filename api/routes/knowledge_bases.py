"""Knowledge bases, their versions and releases."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response

from api.dependencies import Reading, Releasing, visible_knowledge_base
from api.openapi import failures
from api.pagination import Cursor, Limit, Page, cursor_after, number_key
from api.schemas.common import KnowledgeBaseName, KnowledgeBaseOut, ReleaseOut, knowledge_base_out, release_out
from api.schemas.knowledge_bases import (
    DecisionOut,
    DifferenceOut,
    EvaluationOut,
    Number,
    Promotion,
    QuarantinedOut,
    ReleaseRequest,
    Rollback,
    VersionDetailOut,
    VersionOut,
)
from mindset.application import Installation
from mindset.auth.caller import Caller
from mindset.catalog.evaluations import newest_evaluation
from mindset.catalog.idempotency import IdempotentRequest
from mindset.catalog.pool import REQUEST_TIMEOUT_S
from mindset.catalog.quarantine import quarantined_documents
from mindset.catalog.releases import current_release, list_releases, live_release
from mindset.catalog.transactions import Connection
from mindset.catalog.version_documents import readable_uris
from mindset.catalog.versions import Version, difference, finished_version, get_version, list_versions
from mindset.config.definition import fingerprint
from mindset.config.knowledge_base import KnowledgeBase
from mindset.errors import (
    MindsetError,
    PreconditionFailed,
    RequestRejected,
    UnknownKnowledgeBase,
    UnknownVersion,
)
from mindset.releases import promotion

router = APIRouter(prefix="/v1/knowledge-bases", tags=["knowledge bases"])

Name = Annotated[KnowledgeBaseName, Path(description="Name of the knowledge base", examples=["docs"])]


def _failures(*errors: type[MindsetError], body: bool = False) -> dict[int | str, dict[str, Any]]:
    return failures(UnknownKnowledgeBase, *errors, body=body)


@router.get("", summary="List knowledge bases", responses=failures())
def knowledge_bases(request: Request, caller: Reading) -> list[KnowledgeBaseOut]:
    """List the knowledge bases that you may see, with their live releases."""
    installation: Installation = request.app.state.installation
    return [describe(installation, kb) for kb in installation.knowledge_bases() if caller.sees(kb)]


@router.get("/{kb}", summary="Get a knowledge base", responses=_failures())
def knowledge_base(kb: Name, request: Request, caller: Reading) -> KnowledgeBaseOut:
    """Get a knowledge base with its live release."""
    installation: Installation = request.app.state.installation
    return describe(installation, visible_knowledge_base(installation, kb, caller))


@router.get("/{kb}/versions", summary="List versions", responses=_failures(RequestRejected))
def versions(kb: Name, request: Request, caller: Reading, limit: Limit = 50, cursor: Cursor = None) -> Page[VersionOut]:
    """List the versions, newest first."""
    installation, name = _visible(request, kb, caller)
    with installation.catalog.reading(REQUEST_TIMEOUT_S) as connection:
        found = list_versions(connection, name, limit + 1, number_key(cursor))
    items = [_version_out(version) for version in found[:limit]]
    return Page(items=items, next=cursor_after(items[-1].number) if len(found) > limit else None)


@router.get("/{kb}/versions/{number}", summary="Get a version", responses=_failures(UnknownVersion))
def version(kb: Name, number: Number, request: Request, caller: Reading) -> VersionDetailOut:
    """Get a version with its evaluation."""
    installation, name = _visible(request, kb, caller)
    with installation.catalog.reading(REQUEST_TIMEOUT_S) as connection:
        found = _get_version(connection, name, number)
        newest = newest_evaluation(connection, name, number)
    evaluation = newest and EvaluationOut(
        questions=newest.questions,
        passed=newest.passed,
        reasons=list(newest.reasons),
        baseline_version=newest.baseline,
        metrics=newest.metrics,
    )
    return VersionDetailOut(**_version_out(found).model_dump(), evaluation=evaluation)


@router.get(
    "/{kb}/versions/{number}/difference",
    summary="Compare versions",
    responses=_failures(UnknownVersion, RequestRejected),
)
def version_difference(
    kb: Name,
    number: Number,
    request: Request,
    caller: Reading,
    base: Annotated[
        int | None, Query(ge=1, lt=2**31, description="The version to compare with; by default an empty version")
    ] = None,
) -> DifferenceOut:
    """Compare a version with another one."""
    if "since" in request.query_params:  # an unknown parameter is ignored, and the difference would be another one
        raise RequestRejected("The parameter `since` is now `base`. Rename it.")
    installation, name = _visible(request, kb, caller)
    with installation.catalog.reading(REQUEST_TIMEOUT_S) as connection:
        for version in (number, base or number):
            finished_version(connection, name, version)
        changes = difference(connection, name, base, number)
        uri_lists = (changes.documents_added, changes.documents_changed, changes.documents_removed)
        may_read = readable_uris(connection, name, caller.principals, [uri for uris in uri_lists for uri in uris])
    added, changed, removed = ([uri for uri in uris if uri in may_read] for uris in uri_lists)
    return DifferenceOut(
        base_version=base, version=number, documents_added=added, documents_changed=changed, documents_removed=removed,
        chunks_added=changes.chunks_added, chunks_removed=changes.chunks_removed,
    )  # fmt: skip


@router.get("/{kb}/quarantined", summary="List quarantined documents", responses=_failures())
def quarantine(kb: Name, request: Request, caller: Reading) -> list[QuarantinedOut]:
    """List the quarantined documents that you may read, with the reasons."""
    installation, name = _visible(request, kb, caller)
    with installation.catalog.reading(REQUEST_TIMEOUT_S) as connection:
        quarantined = quarantined_documents(connection, name)
        may_read = readable_uris(connection, name, caller.principals, [uri for uri, _ in quarantined])
    return [QuarantinedOut(uri=uri, reason=reason) for uri, reason in quarantined if uri in may_read]


@router.get("/{kb}/releases", summary="List releases", responses=_failures(RequestRejected))
def releases(
    kb: Name, request: Request, response: Response, caller: Reading, limit: Limit = 50, cursor: Cursor = None
) -> Page[ReleaseOut]:
    """List releases, newest first; the one without `replaced_at` is live. Send the `ETag` as `If-Match` to change it."""
    installation, name = _visible(request, kb, caller)
    with installation.catalog.reading(REQUEST_TIMEOUT_S) as connection:
        found = list_releases(connection, name, limit + 1, number_key(cursor))
        live = live_release(connection, name)
    if live:
        response.headers["ETag"] = f'"{live}"'
    items = [release_out(release) for release in found[:limit]]
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
        str | None,
        Header(max_length=100, description="`ETag` of the releases: rejected if another release went live since"),
    ] = None,
    idempotency_key: Annotated[
        str | None,
        Header(max_length=200, description="A repeated request with the same key is performed once, for a week"),
    ] = None,
) -> DecisionOut:
    """Promote a version, or roll back to the previous one. Your name is stored with the release."""
    installation, name = _visible(request, kb, caller)
    idempotent_request = (
        IdempotentRequest(caller.name, idempotency_key, fingerprint(name, body.model_dump()))
        if idempotency_key
        else None
    )
    condition = promotion.Precondition(_expected(if_match), if_match is not None, idempotent_request)
    reason = body.reason.replace("\0", "")
    match body:
        case Promotion():
            decision = promotion.promote(
                installation.catalog, name, body.version, caller.name, reason, condition=condition
            )
        case Rollback():
            decision = promotion.roll_back(installation.catalog, name, caller.name, reason, condition)
    installation.publish_release(name, decision.version)
    if decision.replayed:
        response.headers["Idempotent-Replay"] = "true"
    response.headers["Location"] = f"/v1/knowledge-bases/{name}/releases"
    return DecisionOut(version=decision.version, replaces=decision.replaces, reasons=list(decision.reasons))


def describe(installation: Installation, kb: KnowledgeBase) -> KnowledgeBaseOut:
    """Return a knowledge base with its live release."""
    with installation.catalog.reading(REQUEST_TIMEOUT_S) as connection:
        live = current_release(connection, kb.name)
        version = get_version(connection, kb.name, live.version) if live else None
    return knowledge_base_out(kb, live, version.documents if version else None, version.chunks if version else None)


def _visible(request: Request, kb: str, caller: Caller) -> tuple[Installation, str]:
    installation: Installation = request.app.state.installation
    return installation, visible_knowledge_base(installation, kb, caller).name


def _get_version(connection: Connection, kb: str, number: int) -> Version:
    found = get_version(connection, kb, number)
    if found is None:
        raise UnknownVersion(
            f"{kb} has no version {number}. `GET /v1/knowledge-bases/{kb}/versions` lists its versions."
        )
    return found


def _version_out(version: Version) -> VersionOut:
    return VersionOut.model_validate(asdict(version))


def _expected(if_match: str | None) -> frozenset[int] | None:
    """Return the ids of the releases that an If-Match header names; None: any release. Raises RequestRejected."""
    if if_match is None or if_match.strip() == "*":
        return None
    tags = [tag.strip().removeprefix("W/").strip('"') for tag in if_match.split(",")]
    if not all(tag.isascii() and tag.isdigit() and len(tag) < 19 for tag in tags):
        raise RequestRejected(
            f"If-Match {if_match[:50]!r} is not an ETag of the releases. `GET .../releases` sends it."
        )
    return frozenset(map(int, tags))
