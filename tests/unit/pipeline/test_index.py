"""Tests of the selection of segments that a version keeps."""

from __future__ import annotations

from dataclasses import replace

from mindset.catalog.segments import Segment
from mindset.pipeline.index import segments_to_keep

FULL = Segment(1, "kb-1", "model", 256, 10)
EMPTY = Segment(2, "kb-2", "model", 256, 10)
OTHER_MODEL = replace(FULL, id=3, collection="kb-3", model="other")


def test_version_keeps_segments_of_its_model_with_visible_chunks() -> None:
    visible = {FULL.id: 1, EMPTY.id: 0, OTHER_MODEL.id: 9}
    assert segments_to_keep([FULL, EMPTY, OTHER_MODEL], visible, "model") == [FULL]


def test_first_version_keeps_nothing() -> None:
    assert segments_to_keep([], {}, "model") == []
