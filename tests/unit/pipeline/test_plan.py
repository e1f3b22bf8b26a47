"""Tests of the decisions in a night's plan."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from mindset.catalog.versions import Version
from mindset.config.knowledge_base import KnowledgeBase
from mindset.config.ranking import ranking_options
from mindset.embedding.registry import model_id
from mindset.pipeline.plan import BuildPlan, needs_version, rebuilds_everything

KB = KnowledgeBase.model_validate({"name": "kb", "title": "KB", "sources": [{"kind": "folder", "path": "."}]})
NOW = datetime(2026, 1, 31, tzinfo=UTC)
NEWEST = Version(
    number=1, state="ready", model=model_id(KB.embedding), dimension=KB.embedding.dimension,
    chunking=KB.chunking.fingerprint, documents=1, chunks=1, created_at=NOW, ready_at=NOW, ranking=ranking_options(KB),
)  # fmt: skip
OTHER_MODEL = replace(NEWEST, model="other")
OTHER_RANKING = replace(NEWEST, ranking=NEWEST.ranking.model_copy(update={"dense_weight": 0.7}))
OTHER_CHUNKING = replace(NEWEST, chunking="other")
BUILDING = replace(NEWEST, number=2, state="building", ready_at=None)


@pytest.mark.parametrize(
    ("newest", "building", "expected"),
    [
        (None, None, False),
        (NEWEST, None, False),
        (OTHER_CHUNKING, None, False),  # the documents to chunk show it
        (OTHER_MODEL, None, True),
        (OTHER_RANKING, None, True),
        (NEWEST, BUILDING, True),
        (None, BUILDING, True),
    ],
)
def test_version_is_needed_to_resume_a_build_and_for_a_new_model_or_ranking(
    newest: Version | None, building: Version | None, expected: bool
) -> None:
    assert needs_version(newest, building, KB) is expected


@pytest.mark.parametrize(
    ("newest", "expected"),
    [(None, False), (NEWEST, False), (OTHER_RANKING, False), (OTHER_MODEL, True), (OTHER_CHUNKING, True)],
)
def test_new_model_or_chunking_rebuilds_everything(newest: Version | None, expected: bool) -> None:
    assert rebuilds_everything(newest, KB) is expected


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (BuildPlan((), (), needs_version=False), False),
        (BuildPlan(("a.md",), (), needs_version=False), True),
        (BuildPlan((), ("a.md",), needs_version=False), True),
        (BuildPlan((), (), needs_version=True), True),
    ],
)
def test_plan_builds_if_anything_changed(plan: BuildPlan, expected: bool) -> None:
    assert plan.builds is expected
