"""The rankings of a search and their fusion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mindset.retrieval.dense import Vector
from mindset.retrieval.fusion import reciprocal_rank_fusion
from mindset.retrieval.search_request import Ranking


@dataclass
class Rankings:
    """The rankings of a search with their weights, the failures of missing ones, and the time each took."""

    weighted: dict[str, tuple[float, Sequence[str]]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    milliseconds: dict[str, float] = field(default_factory=dict)
    vector: Vector | None = None
    """The question's vector, if dense search got as far as embedding it."""

    def add(self, name: str, weight: float, outcome: Ranking | str) -> None:
        """Add a ranking, or the reason why it is missing."""
        if isinstance(outcome, str):
            self.failures[name] = outcome
        else:
            self.weighted[name] = (weight, outcome.chunk_ids)
            self.milliseconds[name] = outcome.milliseconds

    def replace_dense(self, exact: Ranking | str) -> bool:
        """Replace the dense ranking with that of exact search; return False, and report it as failed, if there is none."""
        if isinstance(exact, str):
            self.failures["dense"] = exact
            return False
        self.weighted["dense"] = (self.weighted["dense"][0], exact.chunk_ids)
        self.milliseconds["exact"] = exact.milliseconds
        return True

    def fused(self) -> list[str]:
        """Return the chunk ids of all rankings, best first."""
        return reciprocal_rank_fusion(list(self.weighted.values()))
