"""The verdict of a guardrail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Verdict:
    """An intervention of a guardrail, reported to the caller and counted."""

    stage: Literal["question", "passages", "answer"]
    action: Literal["blocked", "changed", "noted"]
    reasons: tuple[str, ...]
    """Names of the broken rules, such as `injected-override` or `foreign-link`; never the text."""
    retract: bool = False
    """Whether the client must discard the answer's text that it has received so far."""
