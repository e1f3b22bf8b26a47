"""Feature flags through OpenFeature: the settings' by default, or whatever provider an installation sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

from mindset.access.caller import Caller

Flag = Literal["provider-route"]

PROVIDER_ROUTE: Flag = "provider-route"
"""Which provider of a knowledge base's route is asked first; `extractive`: only quotations; empty: as its definition says."""

_DOMAIN = "mindset"


def use_settings(flags: Mapping[Flag, str]) -> None:
    """Let these be the flags; to use another provider, call `openfeature.api.set_provider(..., domain="mindset")` after."""
    api.set_provider_and_wait(  # else the first questions would be asked of a provider that is not ready
        InMemoryProvider({name: InMemoryFlag("set", {"set": value}) for name, value in flags.items()}), _DOMAIN
    )


def provider_route(kb: str, caller: Caller) -> str | None:
    """The provider that is asked first for this caller's question; None: as the definition says."""
    context = EvaluationContext(caller.name, {"knowledge_base": kb, "principals": list(caller.principals)})
    return api.get_client(_DOMAIN).get_string_value(PROVIDER_ROUTE, "", context) or None
