"""The rankings of a search and their fusion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mindset.retrieval.fusion import add_scores, reciprocal_rank_fusion
from mindset.retrieval.search_request import Ranking


@dataclass
class Rankings:
    """The rankings of a search with their weights, the failures of missing ones, and the time each took."""

    fusion: Literal["ranks", "scores"]
    weighted: dict[str, tuple[float, Mapping[str, float]]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    milliseconds: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, weight: float, outcome: Ranking | str) -> None:
        """Add a ranking, or the reason why it is missing."""
        if isinstance(outcome, str):
            self.failures[name] = outcome
        else:
            self.weighted[name] = (weight, outcome.scores)
            self.milliseconds[name] = outcome.milliseconds

    def fused(self) -> list[str]:
        """Return the chunk ids of all rankings, best first."""
        fuse = add_scores if self.fusion == "scores" else reciprocal_rank_fusion
        return fuse(list(self.weighted.values()))
