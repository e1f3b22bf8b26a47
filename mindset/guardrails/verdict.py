"""A verdict: what a guardrail found, and what it did about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Verdict:
    """Told to whoever asked, and counted. `retract`: what was said of the answer until now must be taken back."""

    stage: Literal["question", "passages", "answer"]
    action: Literal["blocked", "changed", "noted"]
    reasons: tuple[str, ...]
    """Names of the rules that it broke, such as `injected-instruction` or `foreign-link`; never the text."""
    retract: bool = False
