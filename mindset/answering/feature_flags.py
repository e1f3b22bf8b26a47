"""Feature flags through OpenFeature, taken from the settings unless an installation sets another provider."""

from __future__ import annotations

from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

from mindset.auth.caller import Caller
from mindset.config.settings import Flags

PROVIDER_ROUTE = "provider-route"
"""The generation provider to try first; `extractive`: quotations only; empty: as the definition says."""

RERANK = "rerank"
"""Whether the definition's reranker is used."""

JUDGE = "judge"
"""Whether the definition's judge is used."""

_DOMAIN = "mindset"


def use_settings(flags: Flags) -> None:
    """Use these flags. For another provider, call `openfeature.api.set_provider(..., domain="mindset")` afterwards."""
    values = flags.model_dump(by_alias=True, exclude_none=True)
    api.set_provider_and_wait(  # wait, or the first questions would find no provider
        InMemoryProvider({name: InMemoryFlag("set", {"set": value}) for name, value in values.items()}), _DOMAIN
    )


def provider_route(kb: str, caller: Caller) -> str | None:
    """Return the provider to try first for this caller; None: as the definition says."""
    return api.get_client(_DOMAIN).get_string_value(PROVIDER_ROUTE, "", _context(kb, caller)) or None


def reranks(kb: str, caller: Caller) -> bool:
    """Return whether the definition's reranker is used for this caller."""
    return api.get_client(_DOMAIN).get_boolean_value(RERANK, True, _context(kb, caller))


def judges(kb: str, caller: Caller) -> bool:
    """Return whether the definition's judge is used for this caller."""
    return api.get_client(_DOMAIN).get_boolean_value(JUDGE, True, _context(kb, caller))


def _context(kb: str, caller: Caller) -> EvaluationContext:
    return EvaluationContext(caller.name, {"knowledge_base": kb, "principals": list(caller.principals)})
