"""What callers thought of answers."""

from __future__ import annotations

import time
from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from api.access import GivingFeedback
from api.description import failures
from mindset.access.caller import Caller, Scope
from mindset.catalog.answers import day_of
from mindset.catalog.feedback import find_answer, give_feedback
from mindset.errors import MindsetError, UnknownAnswer
from mindset.installation import Installation

router = APIRouter(prefix="/v1", tags=["answers"])

# The log is written behind the answers: one that was just given may not be in it for a moment.
_PATIENCE_S = 0.5


class FeedbackIn(BaseModel):
    """A verdict on an answer."""

    model_config = ConfigDict(extra="forbid")

    answer: str = Field(max_length=64, description="The answer's `id`", examples=["0193f4a2b6d05c1e8a7f3b2d4c6e8f90"])
    verdict: Literal["good", "bad"]
    comment: Annotated[str, Field(max_length=2_000, examples=["It names the old command."])] | None = None


class FeedbackOut(FeedbackIn):
    """The verdict as it was kept."""

    knowledge_base: str


@router.post("/feedback", status_code=201, summary="Judge an answer", responses=failures(UnknownAnswer, body=True))
def feedback(body: FeedbackIn, request: Request, caller: GivingFeedback) -> FeedbackOut:
    """Say whether an answer was good. A second verdict of yours on the same answer replaces the first."""
    installation: Installation = request.app.state.installation
    kb = _answered(installation, body.answer, caller)
    comment = body.comment.replace("\0", "") if body.comment else None
    with installation.catalog.writing() as connection:
        give_feedback(connection, kb, body.answer, caller.name, body.verdict, comment)
    return FeedbackOut(**body.model_dump(), knowledge_base=kb)


def _answered(installation: Installation, answer: str, caller: Caller) -> str:
    """The knowledge base of an answer that the caller was given. Raises UnknownAnswer, also for those of others."""
    day = day_of(answer)
    deadline = time.monotonic() + _PATIENCE_S
    while day:
        with installation.catalog.glancing() as connection:
            given = find_answer(connection, day, answer)
        if given and _may_judge(installation, given.kb, given.caller, caller):
            return given.kb
        if given or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    raise UnknownAnswer(
        f"No answer {answer!r} was given to you, or the answer log is off or does not go back so far. Send the `id` of an answer."
    )


def _may_judge(installation: Installation, name: str, asked_by: str, caller: Caller) -> bool:
    try:
        sees = caller.sees(installation.knowledge_base(name))
    except MindsetError:
        sees = False  # its definition is gone
    return sees and (asked_by == caller.name or Scope.ADMIN in caller.scopes)
