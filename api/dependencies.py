"""Who asks: every route names the scope that it needs, and gets the caller."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

import structlog
from anyio import to_thread
from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from api.middleware.rate_limits import RateLimits, address_of
from mindset.application import Installation
from mindset.auth.caller import Caller, unknown_knowledge_base
from mindset.config.knowledge_base import KnowledgeBase
from mindset.config.scopes import Scope
from mindset.errors import ConfigurationError, NotAuthenticated, UnknownKnowledgeBase

_log = structlog.get_logger()

# For the API's description alone; what it reads of a request is not used.
_SCHEME = HTTPBearer(
    scheme_name="Bearer",
    auto_error=False,
    description="An API key (`pm_...`, from `mindset keys create`) or a token of the identity provider. Not needed where "
    "access is open.",
)


def authenticate(request: Request) -> Caller:
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


def require_scope(scope: Scope) -> Callable[..., Awaitable[Caller]]:
    """A dependency that lets only callers with the scope pass; call it in `Depends`."""

    async def check(request: Request, _credentials: Annotated[object, Depends(_SCHEME)]) -> Caller:
        installation: Installation = request.app.state.installation
        limits: RateLimits = request.app.state.limits
        # Where access is open nothing is asked of anybody, and a thread would cost more than all the rest.
        at_once = installation.authentication.is_open and not limits.on
        caller = authenticate(request) if at_once else await to_thread.run_sync(authenticate, request)
        structlog.contextvars.bind_contextvars(caller=caller.name)
        caller.require(scope)
        return caller

    return check


Asking = Annotated[Caller, Depends(require_scope(Scope.ASK))]
Searching = Annotated[Caller, Depends(require_scope(Scope.SEARCH))]
Reading = Annotated[Caller, Depends(require_scope(Scope.READ))]
GivingFeedback = Annotated[Caller, Depends(require_scope(Scope.FEEDBACK))]
Releasing = Annotated[Caller, Depends(require_scope(Scope.RELEASE))]
Operating = Annotated[Caller, Depends(require_scope(Scope.OPERATE))]


def visible_knowledge_base(installation: Installation, name: str, caller: Caller) -> KnowledgeBase:
    """A knowledge base that the caller may know of. Raises UnknownKnowledgeBase, the same for one that is not there."""
    try:
        kb = installation.knowledge_base(name)
    except (UnknownKnowledgeBase, ConfigurationError) as absent:
        # Its text is for operators: it lists all there are, and a hidden one that is broken must not be told apart.
        _log.info("knowledge base not there", kb=name[:80], why=str(absent))
        raise unknown_knowledge_base(name) from None
    caller.check_sees(kb)
    return kb
