"""A caller: who asks, what they may do, and as whom they read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from mindset.errors import NotAllowed, UnknownKnowledgeBase
from mindset.knowledge_base import KnowledgeBase

EVERYBODY = "*"
"""The principal that everyone has."""


class Scope(StrEnum):
    """What a caller may do; `admin` includes all others."""

    ASK = "ask"
    SEARCH = "search"
    READ = "read"
    FEEDBACK = "feedback"
    RELEASE = "release"
    OPERATE = "operate"
    ADMIN = "admin"


@dataclass(frozen=True)
class Caller:
    """Made by authentication alone: nothing that a request's body says changes it."""

    name: str
    """For logs and audits: `key:<id>`, `oidc:<sub>`, or `anyone` where access is open."""
    scopes: frozenset[Scope]
    principals: tuple[str, ...]
    """As whom they read, `*` among them, sorted: the same rights are the same tuple, which caches are keyed by."""

    def require(self, scope: Scope) -> None:
        """Raise NotAllowed where the caller lacks the scope."""
        if scope not in self.scopes and Scope.ADMIN not in self.scopes:
            held = ", ".join(sorted(self.scopes)) or "none"
            raise NotAllowed(f"This needs the scope `{scope}`, and {self.name} has: {held}. Ask for a key that has it.")

    def check_sees(self, kb: KnowledgeBase) -> None:
        """Raise UnknownKnowledgeBase where the caller is not among its audience, as if it were not there."""
        if not self.sees(kb):
            raise unknown(kb.name)

    def sees(self, kb: KnowledgeBase) -> bool:
        """Whether the caller may know of a knowledge base at all."""
        return not set(kb.audience).isdisjoint(self.principals)


def unknown(name: str) -> UnknownKnowledgeBase:
    """What is said of a knowledge base that is not there, for this caller or at all."""
    return UnknownKnowledgeBase(
        f"No knowledge base is named {name[:80]!r} here. `GET /v1/knowledge-bases` lists yours."
    )


def as_principals(named: Iterable[str]) -> tuple[str, ...]:
    """Principals in the form that a caller has them."""
    return tuple(sorted({EVERYBODY, *named}))


ANYONE = Caller("anyone", frozenset(Scope), as_principals(()))
"""Who asks where access is open: may do everything, and reads what everybody may read."""
