"""Callers: their permissions and the principals they read as."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mindset.config.knowledge_base import KnowledgeBase
from mindset.config.scopes import Scope
from mindset.errors import NotAllowed, UnknownKnowledgeBase

EVERYONE = "*"
"""The principal that every caller has."""


@dataclass(frozen=True)
class Caller:
    """The sender of a request. Created by authentication only: nothing in a request's body affects it."""

    name: str
    """For logs and the audit: `key:<id>`, `oidc:<sub>`, or `anyone` if access is open."""
    scopes: frozenset[Scope]
    principals: tuple[str, ...]
    """Sorted, including `*`. Equal rights are equal tuples, which cache keys rely on."""

    def require(self, scope: Scope) -> None:
        """Raise NotAllowed if the caller lacks the scope."""
        if scope not in self.scopes and Scope.ADMIN not in self.scopes:
            granted = ", ".join(sorted(self.scopes)) or "none"
            raise NotAllowed(
                f"This requires the scope `{scope}`, but {self.name} has: {granted}. Request a key with that scope."
            )

    def check_sees(self, kb: KnowledgeBase) -> None:
        """Raise UnknownKnowledgeBase, as if it did not exist, unless the caller belongs to its audience."""
        if not self.sees(kb):
            raise unknown_knowledge_base(kb.name)

    def sees(self, kb: KnowledgeBase) -> bool:
        """Return whether the caller belongs to a knowledge base's audience."""
        return not set(kb.audience).isdisjoint(self.principals)


def unknown_knowledge_base(name: str) -> UnknownKnowledgeBase:
    """Return the error for a knowledge base that does not exist, or not for this caller."""
    return UnknownKnowledgeBase(
        f"No knowledge base is named {name[:80]!r} here. `GET /v1/knowledge-bases` lists yours."
    )


def as_principals(principals: Iterable[str]) -> tuple[str, ...]:
    """Return principals sorted, without duplicates, and including `*`."""
    return tuple(sorted({EVERYONE, *principals}))


ANYONE = Caller("anyone", frozenset(Scope), as_principals(()))
"""The caller if access is open: has every scope, and reads what everyone may read."""
