"""A second model's word on whether an answer follows from its passages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from mindset.errors import Overloaded, ProviderError
from mindset.generation.prompt import judge_prompt
from mindset.generation.protocol import LanguageModel, Usage
from mindset.providers.deadline import Deadline
from mindset.retrieval.passage import Passage

_WORD = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Judgement:
    """What a judge said of an answer."""

    judge: str
    """`provider:model`."""
    supported: bool | None
    """None: it could not say, and `why` tells the reason; then the answer is degraded."""
    usage: Usage = field(default_factory=Usage)
    why: str = ""


class Judge:
    """Thread-safe."""

    def __init__(self, model: LanguageModel) -> None:
        self._model = model

    @property
    def name(self) -> str:
        """`provider:model`."""
        return self._model.name

    def judge(self, question: str, answer: str, passages: Sequence[Passage], deadline: Deadline | None) -> Judgement:
        """Whether the passages support all that the answer says. An answer outlives a judge that fails."""
        said, usage = "", Usage()
        try:
            for piece in self._model.stream_prompt(judge_prompt(question, answer, passages), deadline):
                said, usage = said + piece.text, piece.usage or usage
        except (ProviderError, Overloaded) as failed:
            return Judgement(self.name, None, usage, str(failed))
        word = _WORD.match(said)
        if word is None:
            return Judgement(self.name, None, usage, f"{self.name} said neither yes nor no.")
        return Judgement(self.name, word[1].lower() == "yes", usage)
