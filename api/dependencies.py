"""Authentication of requests: every route names the scope it requires and receives the caller."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

import structlog
from anyio import to_thread
from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from api.middleware.rate_limits import RateLimits, address_of
from mindset.application import Installation
from mindset.auth.authentication import credential_prefix
from mindset.auth.caller import Caller, unknown_knowledge_base
from mindset.config.knowledge_base import KnowledgeBase
from mindset.config.scopes import Scope
from mindset.errors import ConfigurationError, NotAuthenticated, UnknownKnowledgeBase

_log = structlog.get_logger()

# Only for the OpenAPI document; what it extracts from requests is not used.
_SCHEME = HTTPBearer(
    scheme_name="Bearer",
    auto_error=False,
    description="An API key (`pm_...`, from `mindset keys create`) or a token of the identity provider. Not needed if access "
    "is open.",
)


def authenticate(request: Request) -> Caller:
    """Return the caller of a request and count it against the rate limits.

    Valid credentials are always accepted: other clients may share the address, for instance behind an ingress, and could
    lock the caller out by invalid ones. Raises NotAuthenticated, or TooManyRequests for too many invalid credentials, but not for
    an expired token."""
    installation: Installation = request.app.state.installation
    limits: RateLimits = request.app.state.limits
    address = address_of(request)
    authorizations = request.headers.getlist("authorization")
    try:
        caller = installation.authentication.caller(authorizations)
    except NotAuthenticated as rejected:
        # Without credentials, and with a genuine token, nothing is guessed. Clients renew an expired one after a 401 only.
        if authorizations and not rejected.expired:
            limits.count_rejection(credential_prefix(authorizations[0]), address)
        raise
    request.state.caller = caller
    request.state.rate_limit = status = limits.count(caller.name, address)
    status.check()
    return caller


def require_scope(scope: Scope) -> Callable[..., Awaitable[Caller]]:
    """Return a dependency, for `Depends`, that authenticates the caller and requires a scope."""

    async def check(request: Request, _credentials: Annotated[object, Depends(_SCHEME)]) -> Caller:
        installation: Installation = request.app.state.installation
        limits: RateLimits = request.app.state.limits
        # With open access and without limits nothing blocks, so no worker thread is needed.
        nonblocking = installation.authentication.is_open and not limits.enabled
        caller = authenticate(request) if nonblocking else await to_thread.run_sync(authenticate, request)
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
    """Return a knowledge base that the caller may see. Raises UnknownKnowledgeBase, the same for a hidden one."""
    try:
        kb = installation.knowledge_base(name)
    except (UnknownKnowledgeBase, ConfigurationError) as error:
        # The message is for operators: it lists all names, and it would distinguish a hidden, invalid definition.
        _log.info("knowledge base unavailable", kb=name[:80], error=str(error))
        raise unknown_knowledge_base(name) from None
    caller.check_sees(kb)
    return kb
