"""A query: what a caller asks of a knowledge base."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from mindset.answering.feature_flags import judges, reranks
from mindset.auth.caller import Caller
from mindset.catalog.filters import Filter
from mindset.config.knowledge_base import KnowledgeBase
from mindset.generation.query_rewriting import condense_question
from mindset.retrieval.query import validate_question


@dataclass(frozen=True)
class Query:
    """A question to one knowledge base, with the caller's rights and the conversation so far."""

    kb: KnowledgeBase
    question: str
    caller: Caller
    limit: int | None = None
    """Maximum number of chunks to retrieve; None uses the knowledge base's own setting."""
    where: Filter | None = None
    """Restricts the search to documents that match; None searches all documents."""
    previous_questions: tuple[str, ...] = ()
    """Earlier questions of the same conversation, newest last."""

    @cached_property
    def standalone_question(self) -> str:
        """The question with the context of its conversation, as it is searched and answered. Raises QuestionRejected."""
        return condense_question(validate_question(self.question), self.previous_questions)

    @cached_property
    def uses_reranker(self) -> bool:
        """Whether the knowledge base's reranker is called, which a feature flag can turn off."""
        return self.kb.retrieval.rerank is not None and reranks(self.kb.name, self.caller)

    @cached_property
    def uses_judge(self) -> bool:
        """Whether the knowledge base's judge is called, which a feature flag can turn off."""
        return self.kb.guardrails.judge is not None and judges(self.kb.name, self.caller)
