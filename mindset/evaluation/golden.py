"""Golden sets: questions with the evidence that an answer must stand on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from mindset.errors import ConfigurationError
from mindset.knowledge_base import KnowledgeBase, fingerprint

# Postgres keeps no NUL, and reports are tables: a name is one line.
_Line = Annotated[str, Field(pattern=r"^[^\x00-\x1f]+$")]


class Evidence(BaseModel):
    """A quotation from a document; matched without regard to markup and white space."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: _Line
    quote: str = Field(min_length=3)


class Question(BaseModel):
    """One line of a golden set; without evidence the question is one that the documents do not answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: _Line
    question: str = Field(min_length=1)
    answer: str = ""
    evidence: tuple[Evidence, ...] = ()
    slice: _Line = "questions"

    @field_validator("slice")
    @classmethod
    def _not_all(cls, name: str) -> str:
        if name == "all":
            raise ValueError("`all` is the slice of every question; choose another name")
        return name


class GoldenSet(BaseModel):
    """All questions of a knowledge base."""

    model_config = ConfigDict(frozen=True)

    questions: tuple[Question, ...]

    @property
    def fingerprint(self) -> str:
        """Changes with any question."""
        return fingerprint([each.model_dump(mode="json") for each in self.questions])


def load_golden_set(kb: KnowledgeBase) -> GoldenSet | None:
    """The knowledge base's golden set; None where it has none, or an optional one is missing.

    Raises ConfigurationError naming the file, the line and what is wrong with it."""
    file = kb.evaluation.golden_set
    if file is None or (kb.evaluation.optional and not file.exists()):
        return None
    return parse_golden_set(file)


def parse_golden_set(file: Path) -> GoldenSet:
    """A golden set in JSON lines. Raises ConfigurationError."""
    try:
        lines = file.read_text(encoding="utf-8").split("\n")  # JSON strings may hold other line ends
    except (OSError, UnicodeDecodeError) as unreadable:
        raise ConfigurationError(
            f"Cannot read the golden set {file}: {unreadable}. Correct evaluation.golden_set."
        ) from None
    questions: dict[str, Question] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            question = Question.model_validate_json(line)
        except ValidationError as wrong:
            faults = "; ".join(f"{'.'.join(map(str, each['loc'])) or 'line'}: {each['msg']}" for each in wrong.errors())
            raise ConfigurationError(f"{file}, line {number}: {faults}. Correct the line.") from None
        if question.id in questions:
            raise ConfigurationError(f"{file}, line {number}: the id {question.id!r} is used twice. Rename one.")
        questions[question.id] = question
    if not any(each.evidence for each in questions.values()):
        raise ConfigurationError(
            f"{file} holds no question with evidence. Add some, or leave evaluation.golden_set out."
        )
    return GoldenSet(questions=tuple(questions.values()))
