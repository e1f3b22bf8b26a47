"""Feedback on answers."""

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

# The log is written asynchronously, so a new answer may appear in it a moment later.
_LOG_DELAY_S = 0.5


@router.post("/feedback", status_code=201, summary="Rate an answer", responses=failures(UnknownAnswer, body=True))
def feedback(body: FeedbackRequest, request: Request, caller: GivingFeedback) -> FeedbackOut:
    """Rate an answer. A second rating of the same answer replaces your first one."""
    installation: Installation = request.app.state.installation
    kb = _knowledge_base_of(installation, body.answer, caller)
    comment = body.comment.replace("\0", "") if body.comment else None
    with installation.catalog.writing() as connection:
        store_feedback(connection, kb, body.answer, caller.name, body.rating, comment)
    return FeedbackOut(**body.model_dump(), knowledge_base=kb)


def _knowledge_base_of(installation: Installation, answer: str, caller: Caller) -> str:
    """Return the knowledge base of an answer to this caller. Raises UnknownAnswer, also for answers to others."""
    day = day_of(answer)
    deadline = time.monotonic() + _LOG_DELAY_S
    while day:
        with installation.catalog.autocommit_reading() as connection:
            logged = find_answer(connection, day, answer)
        if logged and _may_rate(installation, logged.kb, logged.caller, caller):
            return logged.kb
        if logged or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    raise UnknownAnswer(
        f"The answer log contains no answer {answer!r} to you: the id is wrong, the log is disabled, or the answer is too old. "
        "Send the `id` of an answer."
    )


def _may_rate(installation: Installation, name: str, answered_caller: str, caller: Caller) -> bool:
    try:
        sees = caller.sees(installation.knowledge_base(name))
    except MindsetError:
        sees = False  # the definition no longer exists
    return sees and (answered_caller == caller.name or Scope.ADMIN in caller.scopes)
