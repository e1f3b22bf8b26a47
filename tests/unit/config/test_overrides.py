"""Tests of values that are tried."""

from __future__ import annotations

import pytest

from mindset.config.knowledge_base import KnowledgeBase
from mindset.config.overrides import with_overrides
from mindset.errors import ConfigurationError


def definition() -> KnowledgeBase:
    return KnowledgeBase.model_validate(
        {"name": "kb", "title": "KB", "sources": [{"path": "docs"}], "retrieval": {"passages": 7}}
    )


def test_values_are_parsed_as_yaml_and_others_are_kept() -> None:
    kb = with_overrides(
        definition(), ["retrieval.dense_weight=0.4", "retrieval.canonical=[a/**]", "retrieval.rerank={provider: nim}"]
    )
    assert (kb.retrieval.dense_weight, kb.retrieval.canonical, kb.retrieval.passages) == (0.4, ("a/**",), 7)
    assert kb.retrieval.rerank
    assert definition().retrieval.dense_weight is None


@pytest.mark.parametrize(
    ("assignment", "problem"),
    [
        ("retrieval.dense_wieght=1", "write KEY=VALUE with one of retrieval.passages"),
        ("dense_weight=1", "write KEY=VALUE"),
        ("retrieval.dense_weight", "write KEY=VALUE"),
        ("chunking.tokens=100", "Other keys take effect with a night"),
        ("retrieval.dense_weight=much", r"retrieval.dense_weight: .*number"),
        ("retrieval.candidates=0", r"retrieval.candidates: .*greater"),
        ("retrieval.canonical=[/x]", r"glob"),
        ("retrieval.rerank={", "Correct the value"),
    ],
)
def test_wrong_assignment_is_named_with_the_remedy(assignment: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem) as error:
        with_overrides(definition(), [assignment])
    assert assignment in str(error.value)
