"""Options of evaluation and of the release gate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from mindset.config.definition import StrictModel

MetricName = Literal["recall@5", "mrr", "ndcg@10"]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Gate(StrictModel):
    """What a candidate must achieve to be released."""

    margins: dict[MetricName, Fraction] = Field(default={"recall@5": 0.02, "mrr": 0.03, "ndcg@10": 0.03})
    """How much each metric may drop compared with the live version."""

    minimum: dict[MetricName, Fraction] = Field(default={})
    """The minimum of each metric, whatever is live."""


class Evaluation(StrictModel):
    """How versions are evaluated."""

    golden_set: Path | None = None
    """JSON lines of questions with evidence; relative to the YAML file. None: nothing is measured or gated."""

    optional: bool = False
    """Whether the golden set may be missing; the night then reports that and continues."""

    principals: tuple[str, ...] = ("*",)
    """Principals whose rights the questions are asked with."""

    deadline_s: float = Field(default=30.0, gt=0, le=600)
    """Deadline of one search in seconds, instead of `retrieval.deadline_s`: an evaluation has time, but must be complete."""

    gate: Gate = Gate()
