"""A judge: a second model that checks whether an answer follows from its passages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from mindset.errors import Overloaded, ProviderError
from mindset.generation.prompt import judge_prompt
from mindset.generation.protocol import LanguageModel, Usage
from mindset.providers.deadline import Deadline
from mindset.retrieval.passage import Passage

_REPLY = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Judgement:
    """A judge's decision on an answer."""

    judge: str
    """`provider:model`."""
    supported: bool | None
    """Whether the passages support the answer. None if the judge failed; the answer is then degraded."""
    usage: Usage = field(default_factory=Usage)
    why: str = ""
    """Why the judge failed."""


class Judge:
    """Judges answers with a language model. Thread-safe."""

    def __init__(self, model: LanguageModel) -> None:
        self._model = model

    @property
    def name(self) -> str:
        """`provider:model`."""
        return self._model.name

    def judge(self, question: str, answer: str, passages: Sequence[Passage], deadline: Deadline | None) -> Judgement:
        """Return whether the passages support the whole answer. A failure of the judge is returned, not raised."""
        reply, usage = "", Usage()
        try:
            for piece in self._model.stream_prompt(judge_prompt(question, answer, passages), deadline):
                reply, usage = reply + piece.text, piece.usage or usage
        except (ProviderError, Overloaded) as error:
            return Judgement(self.name, None, usage, str(error))
        match = _REPLY.match(reply)
        if match is None:
            return Judgement(self.name, None, usage, f"{self.name} replied neither yes nor no.")
        return Judgement(self.name, match[1].lower() == "yes", usage)
