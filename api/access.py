"""Who asks: every route names the scope that it needs, and gets the caller."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

import structlog
from anyio import to_thread
from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from api.limits import RateLimits, address_of
from mindset.access.caller import Caller, Scope, unknown
from mindset.errors import ConfigurationError, NotAuthenticated, UnknownKnowledgeBase
from mindset.installation import Installation
from mindset.knowledge_base import KnowledgeBase

_log = structlog.get_logger()

# For the API's description alone; what it reads of a request is not used.
_SCHEME = HTTPBearer(
    scheme_name="Bearer",
    auto_error=False,
    description="An API key (`pm_...`, from `mindset keys create`) or a token of the identity provider. Not needed where "
    "access is open.",
)


def caller_of(request: Request) -> Caller:
    """Who sends a request, which counts against what they may. Raises NotAuthenticated, TooManyRequests."""
    installation: Installation = request.app.state.installation
    limits: RateLimits = request.app.state.limits
    address = address_of(request)
    limits.check_address(address)
    try:
        caller = installation.authentication.caller(request.headers.getlist("authorization"))
    except NotAuthenticated:
        limits.refused(address)
        raise
    request.state.caller = caller
    request.state.rate_limit = left = limits.take(caller.name, address)
    left.check()
    return caller


def allowed(scope: Scope) -> Callable[..., Awaitable[Caller]]:
    """A dependency that lets only callers with the scope pass; call it in `Depends`."""

    async def check(request: Request, _credentials: Annotated[object, Depends(_SCHEME)]) -> Caller:
        installation: Installation = request.app.state.installation
        limits: RateLimits = request.app.state.limits
        # Where access is open nothing is asked of anybody, and a thread would cost more than all the rest.
        at_once = installation.authentication.is_open and not limits.on
        caller = caller_of(request) if at_once else await to_thread.run_sync(caller_of, request)
        structlog.contextvars.bind_contextvars(caller=caller.name)
        caller.require(scope)
        return caller

    return check


Asking = Annotated[Caller, Depends(allowed(Scope.ASK))]
Searching = Annotated[Caller, Depends(allowed(Scope.SEARCH))]
Reading = Annotated[Caller, Depends(allowed(Scope.READ))]
GivingFeedback = Annotated[Caller, Depends(allowed(Scope.FEEDBACK))]
Releasing = Annotated[Caller, Depends(allowed(Scope.RELEASE))]
Operating = Annotated[Caller, Depends(allowed(Scope.OPERATE))]


def visible(installation: Installation, name: str, caller: Caller) -> KnowledgeBase:
    """A knowledge base that the caller may know of. Raises UnknownKnowledgeBase, the same for one that is not there."""
    try:
        kb = installation.knowledge_base(name)
    except (UnknownKnowledgeBase, ConfigurationError) as absent:
        # Its text is for operators: it lists all there are, and a hidden one that is broken must not be told apart.
        _log.info("knowledge base not there", kb=name[:80], why=str(absent))
        raise unknown(name) from None
    caller.check_sees(kb)
    return kb
