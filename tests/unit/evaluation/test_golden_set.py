"""Tests of reading golden sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mindset.config.build_options import FolderSource
from mindset.config.evaluation_options import Evaluation
from mindset.config.knowledge_base import KnowledgeBase
from mindset.errors import ConfigurationError
from mindset.evaluation.golden_set import load_golden_set, parse_golden_set

QUESTION = {"id": "q1", "question": "When?", "evidence": [{"uri": "a.md", "quote": "At eight."}]}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "test.golden.jsonl"


def line(**changes: Any) -> str:
    return json.dumps({**QUESTION, **changes})


def test_every_line_is_a_question_and_empty_lines_are_skipped(file: Path) -> None:
    file.write_text(f"\n{line()}\n   \n{line(id='q2', evidence=[], slice='unanswerable', answer='No.')}\n\n")
    one, other = parse_golden_set(file).questions
    assert (one.id, one.evidence[0].uri, one.evidence[0].quote, one.slice) == ("q1", "a.md", "At eight.", "questions")
    assert (other.id, other.evidence, other.slice, other.answer) == ("q2", (), "unanswerable", "No.")


def test_unicode_line_separators_do_not_end_a_line(file: Path) -> None:
    file.write_text(json.dumps({**QUESTION, "question": "When\u2028or\x85where?"}, ensure_ascii=False))
    assert parse_golden_set(file).questions[0].question == "When\u2028or\x85where?"


@pytest.mark.parametrize(
    ("second", "fault"),
    [
        ("{not json", "Invalid JSON"),
        ("[1]", "line: .*object"),
        ('{"id": "q2"}', "question: Field required"),
        (line(id=""), "id: "),
        (line(id="two\nlines"), "id: "),
        (line(id="q2", slice="nul\0"), "slice: "),
        (line(id="q2", evidence=[{"uri": "nul\0", "quote": "abc"}]), r"evidence\.0\.uri: "),
        (line(id="q2", question=""), "question: "),
        (line(id="q2", questoin="When?"), "questoin: Extra inputs"),
        (line(id="q2", evidence=[{"uri": "a.md"}]), r"evidence\.0\.quote: Field required"),
        (line(id="q2", evidence=[{"uri": "a.md", "quote": "a"}]), r"evidence\.0\.quote: .*at least 3"),
        (line(id="q2", evidence=[{"uri": "a.md", "quote": "abc", "chunk": 1}]), r"evidence\.0\.chunk: Extra inputs"),
        (line(id="q2", slice="all"), "slice: .*choose another name"),
        (line(), "'q1' is used twice"),
    ],
)
def test_invalid_line_is_reported_with_file_line_and_remedy(file: Path, second: str, fault: str) -> None:
    file.write_text(f"{line()}\n\n{second}\n")
    with pytest.raises(ConfigurationError, match=rf"test\.golden\.jsonl, line 3: .*{fault}") as caught:
        parse_golden_set(file)
    assert str(caught.value).endswith(("Correct the line.", "Rename one."))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "\n\n", line(evidence=[])])
def test_golden_set_without_evidence_is_rejected(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=r"test\.golden\.jsonl contains no question with evidence\. Add some"):
        parse_golden_set(file)


@pytest.mark.parametrize("content", [None, b"\xff\xfe\xfd"])
def test_unreadable_file_is_reported_with_its_configuration_key(file: Path, content: bytes | None) -> None:
    if content:
        file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"test\.golden\.jsonl: .*Correct evaluation\.golden_set\."):
        parse_golden_set(file)


def test_fingerprint_depends_on_questions_but_not_on_white_space(file: Path) -> None:
    fingerprints = []
    for text in (line(), f"\n {line()}\n", line(question="Where?")):
        file.write_text(text)
        fingerprints.append(parse_golden_set(file).fingerprint)
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


def test_missing_golden_set_is_allowed_only_if_optional(file: Path) -> None:
    def kb(**evaluation: Any) -> KnowledgeBase:
        source = FolderSource(path=file.parent)
        return KnowledgeBase(name="test", title="Test", sources=(source,), evaluation=Evaluation(**evaluation))

    assert load_golden_set(kb()) is None
    assert load_golden_set(kb(golden_set=file, optional=True)) is None
    with pytest.raises(ConfigurationError, match="Cannot read the golden set"):
        load_golden_set(kb(golden_set=file))
    file.write_text("{")
    with pytest.raises(ConfigurationError, match="line 1"):
        load_golden_set(kb(golden_set=file, optional=True))
