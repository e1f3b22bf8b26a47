"""Who asks: every route names the scope that it needs, and gets the caller."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Request

from mindset.access.caller import ANYONE, Caller, Scope
from mindset.installation import Installation
from mindset.knowledge_base import KnowledgeBase


def caller_of(request: Request) -> Caller:
    """Who sends a request. Raises NotAuthenticated."""
    return ANYONE


def allowed(scope: Scope) -> Callable[[Request], Caller]:
    """A dependency that lets only callers with the scope pass; call it in `Depends`."""

    def check(request: Request) -> Caller:
        caller = caller_of(request)
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
    kb = installation.knowledge_base(name)
    caller.check_sees(kb)
    return kb
