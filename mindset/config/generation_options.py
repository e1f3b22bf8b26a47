"""Options of generation and guardrails."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from mindset.config.definition import StrictModel, with_default_model

_DEFAULT_MODELS = {
    "extractive": "extractive",
    "nim": "nvidia/llama-3.1-nemotron-nano-8b-v1",
    "bedrock": "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
}


class GeneratorSpec(StrictModel):
    """A generator: the provider and model that writes answers."""

    provider: Literal["extractive", "nim", "bedrock"] = "extractive"
    """`extractive` quotes the best sentences and needs no model."""

    model: str = "extractive"
    """The provider's name of the model; each provider has a default."""

    citations: Literal["markers", "native"] = "markers"
    """How the model cites passages: by markers that it writes, or by the native citations of some Bedrock models."""

    @model_validator(mode="before")
    @classmethod
    def _fill_in_default_model(cls, section: Any) -> Any:
        return with_default_model(section, _DEFAULT_MODELS, "extractive")

    @model_validator(mode="after")
    def _native_citations_need_bedrock(self) -> Self:
        if self.citations == "native" and self.provider != "bedrock":
            raise ValueError(f"citations: native requires provider bedrock; leave it out for {self.provider}")
        return self


class Generation(GeneratorSpec):
    """The generator of answers, and its fallbacks."""

    fallback: tuple[GeneratorSpec, ...] | None = None
    """Generators to try, in order, if the first one fails before its first token. Default: `extractive`. An empty list
    disables the fallback."""

    max_tokens: int = Field(default=800, ge=16, le=16_384)
    """Maximum length of an answer."""

    deadline_s: float = Field(default=60.0, gt=0)
    """Deadline of a complete answer in seconds, fallbacks included."""

    @property
    def generators(self) -> tuple[GeneratorSpec, ...]:
        """The generator and its fallbacks, in the order in which they are tried."""
        first = GeneratorSpec(provider=self.provider, model=self.model, citations=self.citations)
        others = (GeneratorSpec(),) if self.fallback is None else self.fallback
        return tuple(dict.fromkeys((first, *others)))


class Guardrails(StrictModel):
    """Checks in addition to the built-in rules."""

    bedrock: str | None = None
    """Id of an Amazon Bedrock guardrail that checks questions, passages and answers."""

    version: str = "DRAFT"
    """Version of that guardrail."""

    judge: GeneratorSpec | None = None
    """A model that judges whether an answer follows from its passages; an answer that does not is retracted."""

    @field_validator("judge")
    @classmethod
    def _judge_is_a_model(cls, judge: GeneratorSpec | None) -> GeneratorSpec | None:
        if judge and judge.provider == "extractive":
            raise ValueError("extractive quotes and cannot judge: set its provider to nim or bedrock")
        if judge and judge.citations == "native":
            raise ValueError("a judge cites nothing: leave out citations")
        return judge
