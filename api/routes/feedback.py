"""What callers thought of answers."""

from __future__ import annotations

import time

from fastapi import APIRouter, Request

from api.dependencies import GivingFeedback
from api.openapi import failures
from api.schemas.feedback import FeedbackOut, FeedbackRequest
from mindset.application import Installation
from mindset.auth.caller import Caller
from mindset.catalog.answer_log import day_of
from mindset.catalog.feedback import find_answer, store_feedback
from mindset.config.scopes import Scope
from mindset.errors import MindsetError, UnknownAnswer

router = APIRouter(prefix="/v1", tags=["answers"])

# The log is written behind the answers: one that was just given may not be in it for a moment.
_PATIENCE_S = 0.5


@router.post("/feedback", status_code=201, summary="Judge an answer", responses=failures(UnknownAnswer, body=True))
def feedback(body: FeedbackRequest, request: Request, caller: GivingFeedback) -> FeedbackOut:
    """Rate an answer. A second rating of the same answer replaces your first one."""
    installation: Installation = request.app.state.installation
    kb = _answered(installation, body.answer, caller)
    comment = body.comment.replace("\0", "") if body.comment else None
    with installation.catalog.writing() as connection:
        store_feedback(connection, kb, body.answer, caller.name, body.rating, comment)
    return FeedbackOut(**body.model_dump(), knowledge_base=kb)


def _answered(installation: Installation, answer: str, caller: Caller) -> str:
    """The knowledge base of an answer that the caller was given. Raises UnknownAnswer, also for those of others."""
    day = day_of(answer)
    deadline = time.monotonic() + _PATIENCE_S
    while day:
        with installation.catalog.autocommit_reading() as connection:
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
