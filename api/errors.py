"""Translation of errors into RFC 9457 problem responses."""

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

# Every error has a status; a test walks the tree of errors.
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
    errors.BuildTakenOver: HTTPStatus.CONFLICT,
    errors.CopiedDatabase: HTTPStatus.CONFLICT,
    errors.LiveReleaseChanged: HTTPStatus.CONFLICT,
    errors.IndexDamaged: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.DimensionMismatch: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.ServiceUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.ProviderRejected: HTTPStatus.BAD_GATEWAY,
    errors.ProviderUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.StackError: HTTPStatus.SERVICE_UNAVAILABLE,
}

_RETRY_AFTER_S = 2.0

_UNEXPECTED = "An unexpected error occurred. The log describes it under this request's id."


class Fault(BaseModel):
    """An invalid field of the body, or an invalid parameter."""

    pointer: str | None = Field(default=None, description="JSON pointer to a field of the body")
    parameter: str | None = Field(default=None, description="Name of a parameter in the path, the query or the headers")
    detail: str

    def __str__(self) -> str:
        return f"{self.parameter or (self.pointer or '').strip('/').replace('/', '.') or 'body'}: {self.detail}"


class Problem(BaseModel):
    """An error as RFC 9457 describes it."""

    type: str = Field(description="A URN that identifies the kind of problem")
    title: str
    status: int
    detail: str = Field(description="What was wrong and what to do")
    request_id: str = Field(description="Identifies the request in the logs")
    errors: list[Fault] | None = Field(default=None, description="For `InvalidRequest`: each invalid field")


def problem(
    request: Request,
    status: HTTPStatus,
    kind: str,
    detail: str,
    headers: dict[str, str] | None = None,
    faults: list[Fault] | None = None,
) -> JSONResponse:
    """Return a problem response, or OpenAI's error format on OpenAI-compatible paths."""
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
    """Return status, kind and detail of an error. Details for operators only are left to the log."""
    status = next(STATUS[class_] for class_ in type(error).__mro__ if class_ in STATUS)
    detail = str(error)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        detail = "The service is misconfigured. Its log describes the problem under this request's id."
    elif isinstance(error, errors.ProviderError):
        detail = "The model cannot answer now. The log gives the reason under this request's id. Try again later."
    elif isinstance(error, errors.ServiceUnavailable) and error.__cause__ is not None:
        # Messages of drivers contain addresses, and this response is also sent to unauthenticated clients.
        detail = "A service that this one depends on is unavailable. The log names it under this request's id. Try again shortly."
    return status, type(error).__name__, detail


def error_response(error: Exception) -> tuple[HTTPStatus, str, str]:
    """Log an error that ended a stream, and return its status, kind and detail."""
    if isinstance(error, errors.MindsetError):
        status, kind, detail = of_error(error)
        _log.error("answer failed", kind=kind, error=str(error))
        return status, kind, detail
    _log.error("answer failed", exc_info=error)
    return HTTPStatus.INTERNAL_SERVER_ERROR, "Unexpected", _UNEXPECTED


def headers_of(error: errors.MindsetError) -> dict[str, str]:
    """Return the response headers of an error: when to retry, and how to authenticate."""
    status, _, _ = of_error(error)
    if status == HTTPStatus.UNAUTHORIZED:
        return {"WWW-Authenticate": "Bearer"}
    if status not in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
        return {}
    seconds = getattr(error, "retry_after_s", None) or _RETRY_AFTER_S
    return {"Retry-After": str(math.ceil(seconds))}


def install(app: FastAPI) -> None:
    """Install exception handlers that turn every error into a problem response."""

    @app.exception_handler(errors.MindsetError)
    def mindset_error(request: Request, error: errors.MindsetError) -> JSONResponse:
        status, kind, detail = of_error(error)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            _log.error("request failed", kind=kind, error=str(error))
        return problem(request, status, kind, detail, headers_of(error))

    @app.exception_handler(RequestValidationError)
    def invalid_request(request: Request, error: RequestValidationError) -> JSONResponse:
        if request.url.path.startswith(openai.PATHS):
            message, param, code = openai.fault_of(error)
            status = openai.status_of(HTTPStatus.UNPROCESSABLE_ENTITY)
            return JSONResponse(openai.error_body(status, "InvalidRequest", message, code, param), status)
        faults = [_fault(raw, error.body) for raw in error.errors()]
        detail = "; ".join(map(str, faults))
        return problem(request, HTTPStatus.UNPROCESSABLE_ENTITY, "InvalidRequest", detail, faults=faults)

    @app.exception_handler(HTTPException)
    def http_exception(request: Request, error: HTTPException) -> JSONResponse:
        status = HTTPStatus(error.status_code)
        kind = "".join(word.capitalize() for word in status.phrase.split())
        return problem(request, status, kind, _http_detail(status, request, error), dict(error.headers or {}))

    @app.exception_handler(Exception)
    def unexpected(request: Request, error: Exception) -> JSONResponse:
        _log.error("request failed", exc_info=error)
        return problem(request, HTTPStatus.INTERNAL_SERVER_ERROR, "Unexpected", _UNEXPECTED)


def _fault(raw: Any, body: Any) -> Fault:
    """Convert one of pydantic's errors."""
    part, *location = raw["loc"]
    detail = str(raw["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if part != "body":
        return Fault(parameter=str(location[0]), detail=detail)
    if raw["type"] == "json_invalid":
        return Fault(pointer="", detail="The body is not valid JSON")
    return Fault(pointer="".join(f"/{step}" for step in _steps_in_body(location, body)), detail=detail)


def _steps_in_body(location: list[str | int], body: Any) -> Iterator[str]:
    """Yield the steps of a location that exist in the body; pydantic also names the union members it tried."""
    for number, step in enumerate(location, 1):
        exists = (isinstance(body, dict) and step in body) or (
            isinstance(body, list) and isinstance(step, int) and step < len(body)
        )
        if exists or (number == len(location) and isinstance(body, dict | list)):
            yield str(step).replace("~", "~0").replace("/", "~1")
            body = body[step] if exists else None


def _http_detail(status: HTTPStatus, request: Request, error: HTTPException) -> str:
    if status == HTTPStatus.NOT_FOUND:
        return f"There is no resource at {request.url.path[:200]!r}. `/docs` lists all endpoints."
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow", "")
        return f"{request.url.path[:200]!r} does not support {request.method}, only {allowed}. `/docs` lists all endpoints."
    return str(error.detail)
