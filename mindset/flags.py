"""Feature flags through OpenFeature: the settings' by default, or whatever provider an installation sets."""

from __future__ import annotations

from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

from mindset.access.caller import Caller
from mindset.settings import Flags

PROVIDER_ROUTE = "provider-route"
"""Which provider of a knowledge base's route is asked first; `extractive`: only quotations; empty: as its definition says."""

RERANK = "rerank"
"""Whether the reranker of a definition is asked."""

JUDGE = "judge"
"""Whether the judge of a definition is asked."""

_DOMAIN = "mindset"


def use_settings(flags: Flags) -> None:
    """Let these be the flags; to use another provider, call `openfeature.api.set_provider(..., domain="mindset")` after."""
    given = flags.model_dump(by_alias=True, exclude_none=True)
    api.set_provider_and_wait(  # else the first questions would be asked of a provider that is not ready
        InMemoryProvider({name: InMemoryFlag("set", {"set": value}) for name, value in given.items()}), _DOMAIN
    )


def provider_route(kb: str, caller: Caller) -> str | None:
    """The provider that is asked first for this caller's question; None: as the definition says."""
    return api.get_client(_DOMAIN).get_string_value(PROVIDER_ROUTE, "", _context(kb, caller)) or None


def reranks(kb: str, caller: Caller) -> bool:
    """Whether the reranker that the definition names is asked for this caller's question."""
    return api.get_client(_DOMAIN).get_boolean_value(RERANK, True, _context(kb, caller))


def judges(kb: str, caller: Caller) -> bool:
    """Whether the judge that the definition names is asked about this caller's answer."""
    return api.get_client(_DOMAIN).get_boolean_value(JUDGE, True, _context(kb, caller))


def _context(kb: str, caller: Caller) -> EvaluationContext:
    return EvaluationContext(caller.name, {"knowledge_base": kb, "principals": list(caller.principals)})
