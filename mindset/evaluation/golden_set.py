"""Golden sets: questions with the evidence that answers must be based on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from mindset.config.definition import fingerprint
from mindset.config.knowledge_base import KnowledgeBase
from mindset.errors import ConfigurationError

# Postgres rejects NUL, and reports are tables, so a name is a single line.
_Line = Annotated[str, Field(pattern=r"^[^\x00-\x1f]+$")]


class Evidence(BaseModel):
    """A quotation from a document. Markup and white space are ignored when it is matched."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: _Line
    quote: str = Field(min_length=3)


class Question(BaseModel):
    """One line of a golden set. A question without evidence is one that the documents do not answer."""

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
    """The questions of a knowledge base."""

    model_config = ConfigDict(frozen=True)

    questions: tuple[Question, ...]

    @property
    def fingerprint(self) -> str:
        """Changes whenever a question changes."""
        return fingerprint([question.model_dump(mode="json") for question in self.questions])


def load_golden_set(kb: KnowledgeBase) -> GoldenSet | None:
    """Load the knowledge base's golden set; None if it has none, or if an optional one is missing.

    Raises ConfigurationError naming the file, the line and the problem."""
    file = kb.evaluation.golden_set
    if file is None or (kb.evaluation.optional and not file.exists()):
        return None
    return parse_golden_set(file)


def parse_golden_set(file: Path) -> GoldenSet:
    """Parse a golden set in JSON lines. Raises ConfigurationError."""
    try:
        lines = file.read_text(encoding="utf-8").split("\n")  # JSON strings may contain other line ends
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
        except ValidationError as invalid:
            problems = "; ".join(
                f"{'.'.join(map(str, error['loc'])) or 'line'}: {error['msg']}" for error in invalid.errors()
            )
            raise ConfigurationError(f"{file}, line {number}: {problems}. Correct the line.") from None
        if question.id in questions:
            raise ConfigurationError(f"{file}, line {number}: the id {question.id!r} is used twice. Rename one.")
        questions[question.id] = question
    if not any(question.evidence for question in questions.values()):
        raise ConfigurationError(
            f"{file} contains no question with evidence. Add some, or leave evaluation.golden_set out."
        )
    return GoldenSet(questions=tuple(questions.values()))
