"""Errors as RFC 9457 problems, in one place."""

from __future__ import annotations

import math
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from api.schemas import openai
from mindset import errors

_log = structlog.get_logger()

# Every error of mindset has its status; a test walks the tree.
STATUS: dict[type[errors.MindsetError], HTTPStatus] = {
    errors.ConfigurationError: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.UnknownKnowledgeBase: HTTPStatus.NOT_FOUND,
    errors.UnknownVersion: HTTPStatus.NOT_FOUND,
    errors.NothingReleased: HTTPStatus.NOT_FOUND,
    errors.UnknownDocument: HTTPStatus.NOT_FOUND,
    errors.SourceUnavailable: HTTPStatus.BAD_GATEWAY,
    errors.DocumentRejected: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.UnknownAnswer: HTTPStatus.NOT_FOUND,
    errors.UnknownRun: HTTPStatus.NOT_FOUND,
    errors.QuestionRejected: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.RequestRejected: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.NotAuthenticated: HTTPStatus.UNAUTHORIZED,
    errors.NotAllowed: HTTPStatus.FORBIDDEN,
    errors.TooManyRequests: HTTPStatus.TOO_MANY_REQUESTS,
    errors.Overloaded: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.ShuttingDown: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.PreconditionFailed: HTTPStatus.PRECONDITION_FAILED,
    errors.BuildInProgress: HTTPStatus.CONFLICT,
    errors.LiveReleaseChanged: HTTPStatus.CONFLICT,
    errors.IndexDamaged: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.DimensionMismatch: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.ServiceUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.ProviderRejected: HTTPStatus.BAD_GATEWAY,
    errors.ProviderUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.StackError: HTTPStatus.SERVICE_UNAVAILABLE,
}

_RETRY_AFTER_S = 2.0

_UNEXPECTED = "Something unexpected went wrong; the log has it under this request's id."


class Fault(BaseModel):
    """What is wrong with a field of the body, or with a parameter."""

    pointer: str | None = Field(default=None, description="Of the body: where it stands, as a JSON pointer")
    parameter: str | None = Field(default=None, description="Of the path, the query or the headers: its name")
    detail: str

    def __str__(self) -> str:
        return f"{self.parameter or (self.pointer or '').strip('/').replace('/', '.') or 'body'}: {self.detail}"


class Problem(BaseModel):
    """An error as RFC 9457 describes it."""

    type: str = Field(description="A URN that names the kind of problem")
    title: str
    status: int
    detail: str = Field(description="What was wrong with this request, and what to do")
    request_id: str = Field(description="Names the request in the logs")
    errors: list[Fault] | None = Field(default=None, description="Of an `InvalidRequest`: each field that is wrong")


def problem(
    request: Request,
    status: HTTPStatus,
    kind: str,
    detail: str,
    headers: dict[str, str] | None = None,
    faults: list[Fault] | None = None,
) -> JSONResponse:
    """A problem as a response; where OpenAI's clients ask, an error as OpenAI describes it."""
    if request.url.path.startswith(openai.PATHS):
        return JSONResponse(openai.error_body(status, kind, detail), openai.status_of(status), headers)
    body = Problem(
        type=f"urn:mindset:{kind}",
        title=status.phrase,
        status=status,
        detail=detail,
        request_id=request.state.request_id,
        errors=faults,
    )
    return JSONResponse(
        body.model_dump(exclude_none=True), status, headers=headers, media_type="application/problem+json"
    )


def of_error(error: errors.MindsetError) -> tuple[HTTPStatus, str, str]:
    """Status, kind and detail of one of our errors; what only operators should read stays in the log."""
    status = next(STATUS[each] for each in type(error).__mro__ if each in STATUS)
    detail = str(error)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        detail = "The service is misconfigured. Its log names the fault under this request's id."
    elif isinstance(error, errors.ProviderError):
        detail = "The model cannot answer now. The service's log says why under this request's id; try again later."
    elif isinstance(error, errors.ServiceUnavailable) and error.__cause__ is not None:
        # What a driver or a client says holds addresses, and is told before anybody has said who they are.
        detail = (
            "Something that this service stands on does not answer now. Its log says what under this request's id; "
            "try again shortly."
        )
    return status, type(error).__name__, detail


def error_response(error: Exception) -> tuple[HTTPStatus, str, str]:
    """Status, kind and detail of whatever ended a stream that had begun; the log has the rest."""
    if isinstance(error, errors.MindsetError):
        status, kind, detail = of_error(error)
        _log.error("answer failed", kind=kind, error=str(error))
        return status, kind, detail
    _log.error("answer failed", exc_info=error)
    return HTTPStatus.INTERNAL_SERVER_ERROR, "Unexpected", _UNEXPECTED


def headers_of(error: errors.MindsetError) -> dict[str, str]:
    """What the response says besides: when to come back, and how to authenticate."""
    status, _, _ = of_error(error)
    if status == HTTPStatus.UNAUTHORIZED:
        return {"WWW-Authenticate": "Bearer"}
    if status not in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
        return {}
    seconds = getattr(error, "retry_after_s", None) or _RETRY_AFTER_S
    return {"Retry-After": str(math.ceil(seconds))}


def install(app: FastAPI) -> None:
    """Make every error of the app a problem."""

    @app.exception_handler(errors.MindsetError)
    def ours(request: Request, error: errors.MindsetError) -> JSONResponse:
        status, kind, detail = of_error(error)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            _log.error("request failed", kind=kind, error=str(error))
        return problem(request, status, kind, detail, headers_of(error))

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        if request.url.path.startswith(openai.PATHS):
            message, param, code = openai.fault_of(error)
            status = openai.status_of(HTTPStatus.UNPROCESSABLE_ENTITY)
            return JSONResponse(openai.error_body(status, "InvalidRequest", message, code, param), status)
        faults = [_fault(each, error.body) for each in error.errors()]
        said = "; ".join(map(str, faults))
        return problem(request, HTTPStatus.UNPROCESSABLE_ENTITY, "InvalidRequest", said, faults=faults)

    @app.exception_handler(HTTPException)
    def plain(request: Request, error: HTTPException) -> JSONResponse:
        status = HTTPStatus(error.status_code)
        kind = "".join(word.capitalize() for word in status.phrase.split())
        return problem(request, status, kind, _said(status, request, error), dict(error.headers or {}))

    @app.exception_handler(Exception)
    def unexpected(request: Request, error: Exception) -> JSONResponse:
        _log.error("request failed", exc_info=error)
        return problem(request, HTTPStatus.INTERNAL_SERVER_ERROR, "Unexpected", _UNEXPECTED)


def _fault(found: Any, body: Any) -> Fault:
    """One of pydantic's errors, in the words of whoever sent the request."""
    place, *location = found["loc"]
    detail = str(found["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if place != "body":
        return Fault(parameter=str(location[0]), detail=detail)
    if found["type"] == "json_invalid":
        return Fault(pointer="", detail="The body is not JSON")
    return Fault(pointer="".join(f"/{each}" for each in _within(location, body)), detail=detail)


def _within(location: list[str | int], body: Any) -> Iterator[str]:
    """The steps of a location that the body has: pydantic names also which of several models it tried."""
    for number, step in enumerate(location, 1):
        is_there = (isinstance(body, dict) and step in body) or (
            isinstance(body, list) and isinstance(step, int) and step < len(body)
        )
        if is_there or (number == len(location) and isinstance(body, dict | list)):
            yield str(step).replace("~", "~0").replace("/", "~1")
            body = body[step] if is_there else None


def _said(status: HTTPStatus, request: Request, error: HTTPException) -> str:
    if status == HTTPStatus.NOT_FOUND:
        return f"There is nothing at {request.url.path[:200]!r}. `/docs` shows all addresses."
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow", "")
        return f"{request.url.path[:200]!r} takes no {request.method}, but {allowed}. `/docs` shows all addresses."
    return str(error.detail)
