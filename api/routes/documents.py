"""Documents and passages of the live release that the caller may read."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request
from fastapi.responses import JSONResponse, Response

from api.dependencies import Reading, visible_knowledge_base
from api.openapi import failures
from api.pagination import Cursor, Limit, Page, cursor_after, text_key
from api.schemas.common import KnowledgeBaseName, passages_out
from api.schemas.documents import ChunkPlaceOut, DocumentOut, FoundPassageOut, WholeDocumentOut
from mindset.application import Installation
from mindset.auth.caller import Caller
from mindset.catalog.passages import visible_passages
from mindset.catalog.pool import REQUEST_TIMEOUT_S
from mindset.catalog.version_documents import document_placements, list_version_documents, version_document
from mindset.errors import NothingReleased, RequestRejected, UnknownDocument, UnknownKnowledgeBase
from mindset.retrieval.passages import to_passages

router = APIRouter(prefix="/v1", tags=["documents"])

_KnowledgeBase = Annotated[KnowledgeBaseName, Query(description="Name of the knowledge base", examples=["docs"])]


@router.get(
    "/passages/{id}",
    summary="Read a passage",
    responses=failures(UnknownKnowledgeBase, NothingReleased, UnknownDocument),
)
def passage(
    id: Annotated[  # noqa: A002
        str, Path(max_length=100, description="One of `chunk_ids`", examples=["9f86d081884c7d659a2feaa0c55ad015"])
    ],
    knowledge_base: _KnowledgeBase,
    request: Request,
    caller: Reading,
) -> FoundPassageOut:
    """Read a passage of the live release by one of the `chunk_ids` that a search or an answer returned."""
    installation, name, version = _live(request, knowledge_base, caller)
    with installation.catalog.reading(REQUEST_TIMEOUT_S) as connection:
        chunks = visible_passages(connection, name, version, caller.principals, [id.replace("\0", "")], 1)
    if not chunks:
        raise UnknownDocument(
            f"The live release of {name} has no passage {id[:80]!r} that you may read. Searches return the ids of passages."
        )
    (passage_out,) = passages_out(tuple(to_passages(chunks, join=False)))
    return FoundPassageOut(**passage_out.model_dump(), knowledge_base=name, version=version)


@router.get(
    "/documents",
    summary="List documents",
    responses=failures(UnknownKnowledgeBase, NothingReleased, RequestRejected),
)
def documents(
    knowledge_base: _KnowledgeBase,
    request: Request,
    caller: Reading,
    limit: Limit = 50,
    cursor: Cursor = None,
    prefix: Annotated[
        str, Query(max_length=1_000, description="Only URIs with this prefix", examples=["operating/"])
    ] = "",
) -> Page[DocumentOut]:
    """List the documents of the live release that you may read, ordered by URI."""
    after = text_key(cursor)
    installation, name, version = _live(request, knowledge_base, caller)
    with installation.catalog.reading(REQUEST_TIMEOUT_S) as connection:
        found = list_version_documents(
            connection, name, version, caller.principals, prefix.replace("\0", ""), after, limit + 1
        )
    items = [DocumentOut.model_validate(document, from_attributes=True) for document in found[:limit]]
    return Page(items=items, next=cursor_after(items[-1].uri) if len(found) > limit else None)


@router.get(
    "/documents/{uri:path}",
    summary="Read a document",
    response_model=WholeDocumentOut,
    responses=failures(UnknownKnowledgeBase, NothingReleased, UnknownDocument)
    | {304: {"description": "Unchanged since the ETag in If-None-Match"}},
)
def document(
    uri: Annotated[str, Path(max_length=4_000, description="As searches and answers return it", examples=["index.md"])],
    knowledge_base: _KnowledgeBase,
    request: Request,
    caller: Reading,
    if_none_match: Annotated[str | None, Header(max_length=1_000)] = None,
) -> Response:
    """Read a whole document of the live release. Its `ETag` changes with its text and with the release."""
    installation, name, version = _live(request, knowledge_base, caller)
    with installation.catalog.reading(REQUEST_TIMEOUT_S) as connection:
        found = version_document(connection, name, version, caller.principals, uri.replace("\0", ""))
        placements = document_placements(connection, name, version, found.uri, found.content_hash) if found else []
    if found is None:
        raise UnknownDocument(
            f"The live release of {name} has no document {uri[:200]!r} that you may read. `GET /v1/documents` lists them."
        )
    # Includes the version, since another version may split the same text into other chunks.
    headers = {"ETag": f'"{version}-{found.content_hash}"'}
    if if_none_match and headers["ETag"] in if_none_match:
        return Response(status_code=304, headers=headers)
    whole = WholeDocumentOut(
        uri=found.uri, title=found.title, media_type=found.media_type, content_hash=found.content_hash,
        metadata=found.metadata, version=version, text=found.text,
        chunks=[
            ChunkPlaceOut(chunk_id=chunk_id, heading_path=path, start=start, end=end)
            for chunk_id, path, start, end in placements
        ],
    )  # fmt: skip
    return JSONResponse(whole.model_dump(mode="json"), headers=headers)


def _live(request: Request, name: str, caller: Caller) -> tuple[Installation, str, int]:
    """Return installation, knowledge base and live version. Raises UnknownKnowledgeBase, NothingReleased."""
    installation: Installation = request.app.state.installation
    kb = visible_knowledge_base(installation, name, caller)
    return installation, kb.name, installation.searcher.snapshot(kb.name).version
